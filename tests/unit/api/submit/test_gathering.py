"""Gathering: what arrives together is committed together, in bounded groups, and too much is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.given import new_task
from support.loops import loop
from waggle_api.refusals import Unavailable
from waggle_api.submit.gathering import GROUP_BYTES, GROUP_TASKS, WAITING_TASKS, Gathering, Pending
from waggle_api.submit.insertion import Accepted, Admitted


class Commits:
    """A commit that takes as long as the test wants."""

    def __init__(self) -> None:
        self.groups: list[list[Pending]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, group: list[Pending]) -> None:
        self.groups.append(group)
        await self.go_on.wait()
        for pending in group:
            pending.answer.set_result(Accepted([], 0))

    @property
    def sizes(self) -> list[int]:
        return [len(group) for group in self.groups]


@asynccontextmanager
async def gathering(commits: Commits, in_flight: int = 2) -> AsyncIterator[Gathering]:
    made = Gathering(commits, in_flight)
    async with loop(made.run()):
        yield made


def pending(tasks: int = 1, payload: str = "{}") -> Pending:
    return Pending(Admitted([new_task(payload=payload) for _ in range(tasks)]))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_while_statements_are_in_flight_the_next_group_gathers() -> None:
    commits = Commits()
    async with gathering(commits) as made:
        for _ in range(2):
            made.add(pending())
            await settle()
        for _ in range(50):
            made.add(pending())
            await settle()
        assert commits.sizes == [1, 1]
        commits.go_on.set()
        await made.drained()
    assert commits.sizes == [1, 1, 50]


async def test_a_group_holds_a_bounded_number_of_tasks_and_bytes() -> None:
    commits = Commits()
    commits.go_on.set()
    async with gathering(commits, 1) as made:
        for size in (600, 400, 1, 1000, 2):
            made.add(pending(size))
        for _ in range(3):
            made.add(pending(1, "x" * (GROUP_BYTES // 2)))
        await made.drained()
    assert [sum(len(p.submission.tasks) for p in group) for group in commits.groups][:4] == [GROUP_TASKS, 1, 1000, 2 + 1]
    assert commits.sizes[-1] == 1


async def test_submissions_keep_their_order() -> None:
    commits = Commits()
    commits.go_on.set()
    async with gathering(commits, 1) as made:
        sent = [pending(300) for _ in range(20)]
        for one in sent:
            made.add(one)
        await made.drained()
    assert [p for group in commits.groups for p in group] == sent


async def test_too_many_waiting_tasks_are_refused_and_those_that_wait_are_not_lost() -> None:
    commits = Commits()
    async with gathering(commits, 1) as made:
        made.add(pending())
        await settle()
        waiting = [pending(1000) for _ in range(WAITING_TASKS // 1000)]
        for one in waiting:
            made.add(one)
        with pytest.raises(Unavailable) as refused:
            made.add(pending())
        assert refused.value.retry_after == 1
        commits.go_on.set()
        await made.drained()
    assert all(one.answer.done() for one in waiting)


async def test_an_idle_gathering_is_drained() -> None:
    async with gathering(Commits()) as made:
        await made.drained()
