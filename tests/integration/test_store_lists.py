"""Pages of waiting and running tasks: the same whether they are found by the indexes of unfinished tasks or, when those are very many, by a walk."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support import given
from waggle.store import tasks
from waggle.store.tasks import Filters

Pool = asyncpg.Pool


async def every(pool: Pool, most: int, **filters: Any) -> list[UUID]:
    """The ids of all pages, as a client that turns them sees them."""
    seen: list[UUID] = []
    more = True
    while more:
        async with pool.acquire() as connection:
            page, more = await tasks.page(connection, Filters(**filters), seen[-1] if seen else None, most)
        assert page or not more
        seen += [task.id for task in page]
    return seen


@pytest.fixture
async def mixed(pool: Pool) -> dict[str, list[UUID]]:
    """Waiting (rung, or not), running and finished tasks, one after the other in turns; ids by kind."""
    await given.alive(pool)
    found: dict[str, list[UUID]] = {"rung": [], "later": [], "running": [], "completed": [], "failed": []}
    for turn in range(8):
        queue = "default" if turn % 2 else "mail"
        found["rung"] += await given.waiting(pool, queue=queue, metadata=f'{{"turn": {turn}}}')
        found["later"] += await given.waiting(pool, queue=queue, delay=60.0, priority=3, type="demo.fail")
        found["running"] += [task.id for task in await given.running(pool, queue=queue)]
        for status in ("completed", "failed"):
            [ended] = await given.waiting(pool, queue=queue)
            await given.change(pool, ended, f"status = '{status}', completed_at = now()")
            found[status].append(ended)
    return found


@pytest.mark.parametrize("enough", [tasks.ENOUGH, 3])
async def test_pages_hold_every_unfinished_task_once_the_newest_first(
    pool: Pool, mixed: dict[str, list[UUID]], enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ENOUGH", enough)
    pending = sorted(mixed["rung"] + mixed["later"], reverse=True)
    for most in (1, 7, 16, 50):
        assert await every(pool, most, statuses=["pending"]) == pending
        assert await every(pool, most, statuses=["running"]) == mixed["running"][::-1]
        assert await every(pool, most, statuses=["running", "pending"]) == sorted(pending + mixed["running"], reverse=True)
        assert await every(pool, most, statuses=["pending", "failed"]) == sorted(pending + mixed["failed"], reverse=True)


@pytest.mark.parametrize("enough", [tasks.ENOUGH, 3])
async def test_other_filters_narrow_them(pool: Pool, mixed: dict[str, list[UUID]], enough: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "ENOUGH", enough)
    waiting: dict[str, Any] = {"statuses": ["pending"]}
    assert await every(pool, 3, **waiting, queue="mail") == sorted(mixed["rung"][::2] + mixed["later"][::2], reverse=True)
    assert await every(pool, 3, **waiting, priority=3) == await every(pool, 3, **waiting, types=["demo.fail"]) == mixed["later"][::-1]
    assert await every(pool, 3, **waiting, metadata='{"turn": 4}') == [mixed["rung"][4]]
    created = (await given.row(pool, mixed["rung"][4]))["created"]
    assert await every(pool, 3, **waiting, created_to=created) == sorted(mixed["rung"][:4] + mixed["later"][:4], reverse=True)
    assert await every(pool, 3, **waiting, created_from=created) == sorted(mixed["rung"][4:] + mixed["later"][4:], reverse=True)
    assert await every(pool, 3, **waiting, queue="nobody") == []
