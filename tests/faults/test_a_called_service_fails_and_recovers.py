"""A service under steady load fails for a while and recovers: it gets few calls while it fails, and no storm of calls afterwards."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from aiohttp import web

from support import given
from support.called import Called, called
from support.facts import until
from support.loops import again_and_again
from support.oracle import History, all_at_rest, check
from support.scale import figures, sized
from support.system import Services

Pool = asyncpg.Pool
RATE = 40  # tasks per second, all the time
TICK = 0.1
NORMAL = sized(1.0, 3.0)
OUTAGE_SECONDS = sized(4.0, 60.0)
RESET = sized(0.5, 5.0)
RELEASE = RATE * 0.75  # with new tasks: 1.75 times the normal rate
THRESHOLD = 5
SLOTS = 20


@asynccontextmanager
async def steady(pool: Pool, service: Called, accepted: list[str]) -> AsyncIterator[None]:
    """`RATE` new tasks per second, for the length of a block."""
    began = time.monotonic()

    async def feed() -> None:
        due = int((time.monotonic() - began) * RATE) - len(accepted)
        if due > 0:
            made = await given.waiting(pool, due, ring=False, type="call.counted", payload=json.dumps({"url": service.url}), max_retries=20)
            accepted.extend(map(str, made))

    async with again_and_again(feed, TICK):
        yield


async def test_calls_are_few_meanwhile_and_do_not_come_back_all_at_once(start: Services, pool: Pool, effects: Path) -> None:
    await start("scheduler")
    await start(
        "worker", environ={"EFFECTS": str(effects)}, app="support.breaker_handlers:app", queues=("default",), concurrency=SLOTS,
        breaker_threshold=THRESHOLD, breaker_reset=RESET, breaker_reset_max=RESET, breaker_release_rate=RELEASE,
    )  # fmt: skip
    accepted: list[str] = []
    calls: list[float] = []
    async with called() as service:

        async def answering(_: web.Request) -> web.Response:
            calls.append(time.monotonic())
            return web.Response(status=service.status, text="hello")

        service.answering = answering
        async with steady(pool, service, accepted):
            await asyncio.sleep(NORMAL)  # the normal rate
            service.status, failed = 503, time.monotonic()
            await asyncio.sleep(OUTAGE_SECONDS)  # the fault itself
            service.status, recovered = 200, time.monotonic()
            waiting = "SELECT count(*) FROM waggle.tasks WHERE status = 'pending' AND attempt > 0"
            await until(lambda: pool.fetchval(f"SELECT ({waiting}) = 0"), 60.0 + 2 * OUTAGE_SECONDS, "all waiting tasks have come back")
        await all_at_rest(pool, 60.0)

    meanwhile = sum(failed < call < recovered for call in calls)
    assert meanwhile <= THRESHOLD + SLOTS + 2 * OUTAGE_SECONDS / RESET, "calls in progress when it failed, and probes"
    seconds = Counter(int(call - recovered) for call in calls if call > recovered)
    peak = max(seconds.values())
    spent = await pool.fetchval("SELECT sum(retry_count) FROM waggle.tasks")
    assert spent <= meanwhile
    await check(pool, History(accepted=accepted), effects, duplicates_at_most=0)
    figures(
        "a called service that fails and recovers", normal_rate=RATE, outage=f"{OUTAGE_SECONDS:g} s", tasks=len(accepted), calls_meanwhile=meanwhile,
        tries_spent=spent, most_calls_a_second_afterwards=peak,
    )  # fmt: skip
    assert peak <= sized(4, 2) * RATE  # in the suite, a machine that hangs for a second catches up in the next
