"""A model of one doorbell that carries several tasks. There is no orphan rule in it: the doorbell alone must bring every task to a worker.

A worker takes tasks of a doorbell that it holds as slots are free, and claims them. It acks the doorbell when all are decided: claimed, or seen not to be
claimable. A doorbell that comes back brings all of its tasks again.
"""

from dataclasses import dataclass
from typing import NamedTuple

from walk import Broken

WAITS, DONE = "waits", "done"  # or the number of the worker that runs it


class Bell(NamedTuple):
    is_stored: bool = True
    holder: int | None = None
    taken: frozenset[int] = frozenset()  # a claim of these is under way
    decided: frozenset[int] = frozenset()


class State(NamedTuple):
    tasks: tuple[str | int, ...]
    bell: Bell
    faults: int
    cancels: int


@dataclass(frozen=True)
class Scenario:
    tasks: int
    workers: int = 2
    slots: int = 1
    faults: int = 0
    cancels: int = 0


class Carried:
    """No task starts twice; in the end all have ended, and the doorbell is gone. A task whose worker died is rung by itself, which is not in the model."""

    def __init__(self, scenario: Scenario, without: frozenset[str] = frozenset()) -> None:
        self.s, self.without = scenario, without

    def initial(self) -> State:
        return State((WAITS,) * self.s.tasks, Bell(), self.s.faults, self.s.cancels)

    def done(self, state: State) -> bool:
        return all(task == DONE for task in state.tasks) and not state.bell.is_stored

    def steps(self, state: State) -> list[tuple[str, bool, State]]:
        steps: list[tuple[str, bool, State]] = []
        for n, task in enumerate(state.tasks):
            if isinstance(task, int):
                steps.append((f"task {n} ends", False, self._with(state, n, DONE)))
            if task == WAITS and state.cancels:
                steps.append((f"task {n} is cancelled", True, self._with(state, n, DONE)._replace(cancels=state.cancels - 1)))
        for worker in range(self.s.workers):
            steps += self._of(state, worker)
        return steps

    def _of(self, state: State, worker: int) -> list[tuple[str, bool, State]]:
        steps: list[tuple[str, bool, State]] = []
        bell, free = state.bell, self.s.slots - sum(task == worker for task in state.tasks) - len(state.bell.taken) * (state.bell.holder == worker)
        if bell.is_stored and bell.holder is None and free:
            steps.append((f"worker {worker} gets the doorbell", False, state._replace(bell=Bell(holder=worker))))
        if bell.holder != worker:
            return steps
        left = [n for n in range(self.s.tasks) if n not in bell.taken | bell.decided]
        if left and free:
            steps.append((f"worker {worker} takes task {left[0]}", False, state._replace(bell=bell._replace(taken=bell.taken | {left[0]}))))
        for n in bell.taken:
            after = bell._replace(taken=bell.taken - {n}, decided=bell.decided | {n})
            steps.append((f"worker {worker} claims task {n}", False, self._claimed(state, worker, n)._replace(bell=after)))
        if left and not free and not bell.taken:
            steps.append((f"worker {worker} gives it back", False, state._replace(bell=Bell())))
        if self._is_done(bell, left):
            steps.append((f"worker {worker} acks", False, state._replace(bell=Bell(is_stored=False))))
            if state.faults:
                steps.append((f"FAULT worker {worker} acks, and the ack is lost", True, state._replace(bell=Bell(), faults=state.faults - 1)))
        if state.faults:
            tasks = tuple(DONE if task == worker else task for task in state.tasks)
            steps.append((f"FAULT worker {worker} dies", True, state._replace(tasks=tasks, bell=Bell(is_stored=bell.is_stored), faults=state.faults - 1)))
        return steps

    def _is_done(self, bell: Bell, left: list[int]) -> bool:
        if "all are decided" in self.without:
            return bool(bell.decided)
        if "not only taken" in self.without:
            return not left
        return not left and not bell.taken

    def _claimed(self, state: State, worker: int, n: int) -> State:
        if state.tasks[n] == WAITS:
            return self._with(state, n, worker)
        if "claims check the row" in self.without:
            raise Broken(f"task {n} starts twice")
        return state

    @staticmethod
    def _with(state: State, n: int, task: str | int) -> State:
        return state._replace(tasks=(*state.tasks[:n], task, *state.tasks[n + 1 :]))
