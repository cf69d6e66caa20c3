"""Doorbells of several tasks that a worker gives back come back in the order of their lane."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from support.facts import until
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle_worker.lanes import Lanes

DOORBELLS, EACH = 5, 60


@pytest.mark.parametrize("give_back", [lambda lanes: lanes.give_back_rests(0), Lanes.let_go], ids=["the rests", "all"])
async def test_what_went_back_comes_back_in_order(bus: Bus, lanes: None, give_back: Callable[[Lanes], Awaitable[None]]) -> None:
    rang: list[None] = []
    held = Lanes(bus, ["default"], lambda: rang.append(None))
    await held.open()
    ids = [uuid4() for _ in range(DOORBELLS * EACH)]
    for start in range(0, len(ids), EACH):
        await bus.publish(subjects.work("default", 1), subjects.doorbell(ids[start : start + EACH], datetime.now(UTC)))

    async def hold(doorbells: int) -> None:
        """Request all; wait until so many have come since the start."""

        async def requested() -> bool:
            await held.top_up(len(ids), None)
            return len(rang) >= doorbells

        await until(requested)

    async def all_of_them(found: list[UUID]) -> list[UUID]:
        return found

    await hold(DOORBELLS)
    await give_back(held)
    assert not held.any_waiting
    await hold(2 * DOORBELLS)
    await held.sift(all_of_them)
    assert [task for _, part in held.pick(len(ids)) for task in part] == ids
    await held.close()
