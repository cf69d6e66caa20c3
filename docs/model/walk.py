"""Visits every state that a model can reach, breadth first. Checks safety on each step, then liveness on the graph of all steps without faults.

A model has `initial()`, `steps(state)` with (label, is_fault, next state), which raises Broken, and `done(state)`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

Edge = tuple[str, int]


class Broken(Exception):
    """A safety property does not hold on this step."""


class Model(Protocol):
    def initial(self) -> Any: ...
    def steps(self, state: Any) -> list[tuple[str, bool, Any]]: ...
    def done(self, state: Any) -> bool: ...


@dataclass
class Report:
    states: int = 0
    edges: int = 0
    seconds: float = 0.0
    broken: str = ""
    trace: list[str] = field(default_factory=list)


class Walk:
    """The known part of the graph. Each state keeps the step that found it, which gives a shortest path to it."""

    def __init__(self, model: Model, most: int) -> None:
        self.model, self.most = model, most
        self.order: list[Any] = [model.initial()]
        self.number = {self.order[0]: 0}
        self.parent: list[tuple[int, str]] = [(-1, "")]
        self.edges: list[list[Edge]] = []
        self.report = Report()

    def run(self) -> Report:
        began = time.process_time()
        n = 0
        while n < len(self.order) and not self.report.broken:
            try:
                self.edges.append(self._edges(n))
            except Broken as broken:
                self.report.broken, self.report.trace = str(broken), [*self.way(n), str(broken)]
            n += 1
            if len(self.order) > self.most:
                self.report.broken = f"more than {self.most} states"
        self.report.states = len(self.order)
        if not self.report.broken:
            self._liveness()
        self.report.seconds = time.process_time() - began
        return self.report

    def _edges(self, n: int) -> list[Edge]:
        edges = []
        for label, is_fault, after in self.model.steps(self.order[n]):
            at = self.number.get(after)
            if at is None:
                at = self.number[after] = len(self.order)
                self.order.append(after)
                self.parent.append((n, label))
            self.report.edges += 1
            if not is_fault:
                edges.append((label, at))
        return edges

    def way(self, n: int) -> list[str]:
        path = []
        while n > 0:
            n, label = self.parent[n]
            path.append(label)
        return path[::-1]

    def _liveness(self) -> None:
        """When faults stop, every weakly fair run ends in a state that is done.

        A run that never ends stays in a strongly connected part; it is weakly fair when each action is taken inside of it, or disabled in one of its states.
        """
        open_ = [not self.model.done(state) for state in self.order]
        for n, is_open in enumerate(open_):
            if is_open and not self.edges[n]:
                self.report.broken, self.report.trace = "stuck: nothing can happen any more", self.way(n)
                return
        for part in _components(self.edges, open_):
            inside = set(part)
            taken = {label for n in part for label, to in self.edges[n] if to in inside}
            always = set.intersection(*({label for label, _ in self.edges[n]} for n in part))
            if taken and not always - taken:
                self.report.broken = f"stuck: a fair run stays forever among {len(part)} states"
                self.report.trace = [*self.way(min(part)), f"... and forever: {sorted(taken)}"]
                return


def _components(edges: list[list[Edge]], keep: list[bool]) -> Iterator[list[int]]:
    """Tarjan's strongly connected components, without recursion; single states only when they loop on themselves."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on: set[int] = set()
    stack: list[int] = []

    def enter(n: int) -> tuple[int, Iterator[Edge]]:
        index[n] = low[n] = len(index)
        stack.append(n)
        on.add(n)
        return n, iter(edges[n])

    for root in range(len(edges)):
        work = [enter(root)] if keep[root] and root not in index else []
        while work:
            n, rest = work[-1]
            to = next((to for _, to in rest if keep[to] and (to not in index or to in on)), None)
            if to is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[n])
                if low[n] == index[n]:
                    at = stack.index(n)
                    part = stack[at:]
                    del stack[at:]
                    on.difference_update(part)
                    if len(part) > 1 or any(to == n for _, to in edges[n]):
                        yield part
            elif to in index:
                low[n] = min(low[n], index[to])
            else:
                work.append(enter(to))
