"""Every lane of a worker is full: slots are shared 1 : 3 : 5 : 10, low is never starved, and a critical task waits for one handler at most."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import asyncpg

from support import given
from support.facts import until
from support.oracle import History, all_at_rest, check
from support.scale import figures, sized
from support.system import Services
from waggle.bus import due
from waggle.bus.connection import Bus
from waggle.task import Priority

Pool = asyncpg.Pool
EACH = sized(400, 5_000)
WEIGHTS = {Priority.LOW: 1, Priority.MEDIUM: 3, Priority.HIGH: 5, Priority.CRITICAL: 10}
ALL_WEIGHTS = sum(WEIGHTS.values())
SLOTS = 10
FIRST = 8 * ALL_WEIGHTS  # starts until the worker knows the rate by which it requests doorbells in advance
COUNTED = EACH * 3 // 5 * ALL_WEIGHTS // WEIGHTS[Priority.CRITICAL]  # starts before a lane runs empty


def began(effects: Path) -> list[str]:
    """The started tasks, in their order."""
    return [line.split()[1] for line in effects.read_text().splitlines() if line.startswith("began ")]


async def waiting(pool: Pool, each: int, seconds: float, *priorities: Priority) -> dict[str, Priority]:
    """The given number of tasks in each of these lanes, with their doorbells."""
    found: dict[str, Priority] = {}
    for priority in priorities:
        for _ in range(0, each, 500):
            ids = await given.waiting(pool, min(each, 500), ring=False, type="test.work", payload=f'{{"seconds": {seconds}}}', priority=int(priority))
            found |= dict.fromkeys(map(str, ids), priority)
    await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM waggle.tasks WHERE rung_at IS NULL"), 30.0, "every doorbell is rung")
    return found


async def test_shares_are_kept_and_low_is_never_starved(start: Services, pool: Pool, effects: Path) -> None:
    await start("scheduler")
    lane_of = await waiting(pool, EACH, 0.03, *Priority)
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS)
    await all_at_rest(pool, 120)
    started = [lane_of[task] for task in began(effects)][FIRST : FIRST + COUNTED]
    shares = Counter(started)
    for priority, weight in WEIGHTS.items():
        fair = len(started) * weight / ALL_WEIGHTS
        assert abs(shares[priority] - fair) <= 0.1 * fair, f"{priority.name} got {shares[priority]} of {len(started)} starts, not {fair:.0f}"
    lows = [number for number, priority in enumerate(started) if priority is Priority.LOW]
    waited = max(later - earlier for earlier, later in pairwise(lows))
    assert waited <= 3 * ALL_WEIGHTS
    await check(pool, History(accepted=list(lane_of)), effects, duplicates_at_most=0)
    figures(
        "lanes of a full worker",
        counted_starts=len(started),
        shares={p.name.lower(): n for p, n in sorted(shares.items())},
        most_starts_between_two_of_low=waited,
    )


async def test_a_critical_task_that_arrives_starts_within_one_handlers_time(start: Services, pool: Pool, bus: Bus, effects: Path) -> None:
    await start("scheduler")
    lane_of = await waiting(pool, 60, 0.3, Priority.LOW, Priority.MEDIUM, Priority.HIGH)
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=SLOTS)
    await until(lambda: len(began(effects)) > SLOTS)
    overtaken_by = []
    for _ in range(sized(3, 10)):
        before = len(began(effects))
        [task_id] = await given.waiting(pool, ring=False, type="test.work", priority=int(Priority.CRITICAL))
        await due.announce(bus)
        await until(lambda task_id=task_id: str(task_id) in began(effects), what="the critical task starts")  # type: ignore[misc]
        overtaken_by.append(began(effects).index(str(task_id)) - before)
        lane_of[str(task_id)] = Priority.CRITICAL
    assert max(overtaken_by) <= sized(2, 1) * SLOTS, "each slot is assigned once within one handler's time"
    await all_at_rest(pool, 60)
    await check(pool, History(accepted=list(lane_of)), effects, duplicates_at_most=0)
    figures("critical tasks among a full backlog", slots=SLOTS, others_that_started_first=overtaken_by)
