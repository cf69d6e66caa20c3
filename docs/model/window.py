"""A model of the window of suspects: tasks that are lost with their process, poison among them, until each one is at rest.

One process is enough: a process hurts no other one. Times are only ordered: a trial is over or it is not, and who comes next
is anybody who fits. So the model allows more than `waggle_worker/window.py` does.
"""

from dataclasses import dataclass
from typing import NamedTuple

from walk import Broken

WAITS, CLAIMED, TRIAL, PROVEN, UNSETTLED = "waits", "claimed", "on trial", "proven", "unsettled"
DONE, DEAD_LETTER = "done", "a dead letter"
HERE = (CLAIMED, TRIAL, PROVEN, UNSETTLED)  # lost when the process dies


class Task(NamedTuple):
    poison: bool
    where: str = WAITS
    lost: int = 0
    fresh: bool = False  # this try is its first one: nobody knows yet what it does


class State(NamedTuple):
    tasks: tuple[Task, ...]
    proven: tuple[int, ...]  # how many were proven since the process started, by how often they were lost
    crashes: int


@dataclass(frozen=True)
class Scenario:
    neighbours: int
    poisons: int
    retries: int
    crashes: int = 0  # of the whole process, for another reason
    fresh: bool = False  # all start as fresh tasks; else all were lost once, together
    most: int = 3  # on trial

    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(poison=n < self.poisons, lost=int(not self.fresh)) for n in range(self.poisons + self.neighbours))


class Window:
    """Without faults every poison becomes a dead letter, and every neighbour is done.

    Excused: a neighbour whose last try ends with a crash for another reason, or with a poison that runs for the first time, which nobody can know.
    """

    def __init__(self, scenario: Scenario, without: frozenset[str] = frozenset()) -> None:
        self.s, self.without = scenario, without

    def initial(self) -> State:
        return State(self.s.tasks(), (0,) * (self.s.retries + 1), self.s.crashes)

    def done(self, state: State) -> bool:
        return all(task.where in (DONE, DEAD_LETTER) for task in state.tasks)

    def steps(self, state: State) -> list[tuple[str, bool, State]]:
        steps = []

        def go(label: str, after: State, *, fault: bool = False) -> None:
            ordered = tuple(sorted(after.tasks))  # tasks of one kind are alike
            steps.append((label, fault, after._replace(tasks=ordered)))

        for n, task in enumerate(state.tasks):
            name = f"{'poison' if task.poison else 'neighbour'} lost {task.lost} times"
            if task.where == WAITS and not task.lost:
                go(f"fresh {name} starts", self._with(state, n, task._replace(where=TRIAL, fresh=True)))
            elif task.where == WAITS and self._fits(state, task):
                go(f"{name} starts", self._with(state, n, task._replace(where=TRIAL)))
            elif task.where == WAITS and "unclaimed" in self.without:
                go(f"{name} is claimed, and goes back", self._with(state, n, task._replace(where=CLAIMED)))
            elif task.where == CLAIMED:
                go(f"{name} is back", self._with(state, n, task._replace(where=WAITS)))
            if task.where == TRIAL:
                go(f"the trial of {name} is over", self._prove(self._with(state, n, task._replace(where=PROVEN)), task))
            if task.where in (TRIAL, PROVEN):
                if task.poison:
                    go(f"{name} kills the process", self._die(state, by=task))
                else:
                    ended = self._with(state, n, task._replace(where=UNSETTLED))
                    go(f"{name} ends", self._prove(ended, task) if task.where == TRIAL else ended)
            if task.where == UNSETTLED:
                go(f"{name} is settled", self._with(state, n, task._replace(where=DONE, lost=0, fresh=False)))
        if state.crashes and any(task.where in HERE for task in state.tasks):
            go("FAULT the process crashes", self._die(state._replace(crashes=state.crashes - 1), by=None), fault=True)
        return steps

    @staticmethod
    def _with(state: State, n: int, task: Task) -> State:
        return state._replace(tasks=(*state.tasks[:n], task, *state.tasks[n + 1 :]))

    def _fits(self, state: State, task: Task) -> bool:
        seats = HERE if "here until settled" not in self.without else (TRIAL, PROVEN)
        here = [other for other in state.tasks if other.lost and other.where in seats and other.where != CLAIMED]
        if "others wait for it" not in self.without and any(self._is_last(other) for other in here):
            return False
        if self._is_last(task) and "alone on the last try" not in self.without:
            return not here
        on_trial = sum(other.where == TRIAL for other in here)
        return on_trial < min(self.s.most, 1 + sum(state.proven[task.lost :]))

    def _is_last(self, task: Task) -> bool:
        return task.lost >= self.s.retries

    def _prove(self, state: State, task: Task) -> State:
        if task.fresh or "grows" in self.without:
            return state
        proven = list(state.proven)
        proven[task.lost] = min(self.s.most, proven[task.lost] + 1)
        return state._replace(proven=tuple(proven))

    def _die(self, state: State, by: Task | None) -> State:
        """The process ends, and what was here is taken back; one that used up its tries is a dead letter."""
        excused = by is None or by.fresh
        tasks = []
        for task in state.tasks:
            if task.where not in HERE:
                tasks.append(task)
            elif task.lost < self.s.retries:
                tasks.append(Task(task.poison, WAITS, task.lost + 1))
            elif task.poison or excused:
                tasks.append(Task(task.poison, DEAD_LETTER))
            else:
                raise Broken("a neighbour is a dead letter because of a poison that was lost before")
        return state._replace(tasks=tuple(tasks), proven=(0,) * len(state.proven))
