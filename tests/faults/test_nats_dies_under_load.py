"""NATS is killed (-9) and started again under load, stays away, or refuses doorbells: a delay, never a loss, and no service is restarted."""

import asyncio
import time
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.metrics import counted
from support.oracle import History, all_at_rest, check, submit_load
from support.scale import dice, figures, sized
from support.servers import NatsServer
from support.system import Services, client_of

Pool = asyncpg.Pool

KILLS = sized(2, 20)
TASKS = sized(1_000, 20_000)
AWAY = sized(5.0, 60.0)
LIMITS: list[dict[str, int]] = sized([{"lane_limit": 50}], [{"lane_limit": 50}, {"work_max_bytes": 16_384}])


async def test_kills_under_load_lose_nothing(start: Services, nats: NatsServer, pool: Pool, effects: Path) -> None:
    chance = dice()
    services = [await start("api"), await start("scheduler"), await start("dlq")]
    services += [await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=20) for _ in range(2)]
    history = History()
    async with client_of(services[0]) as client:
        for _ in range(KILLS):
            async with asyncio.TaskGroup() as group:
                group.create_task(submit_load(client, history, TASKS // KILLS, type="test.work", payload={"seconds": 0.01}))
                await asyncio.sleep(chance.uniform(0.05, 0.5))
                nats.kill()
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                nats.start()
        ended = time.monotonic()
        await all_at_rest(pool, 60)
        rest = time.monotonic() - ended
    assert not history.refused, "a REST call failed without NATS"
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert all(service.alive for service in services)
    figures("NATS dies under load", kills=KILLS, at_rest_after=f"{rest:.1f} s", **counts)


async def test_rest_accepts_for_as_long_as_nats_is_away(start: Services, nats: NatsServer, pool: Pool, effects: Path) -> None:
    services = [await start("api"), await start("scheduler"), await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")]
    history = History()
    nats.kill()
    async with client_of(services[0]) as client:
        end = time.monotonic() + AWAY
        while time.monotonic() < end:
            await submit_load(client, history, 100, type="test.work")
            await asyncio.sleep(0.1)
        assert not history.refused
        assert (await client.get("/health")).json()["status"] == "degraded"
        assert (await client.get("/readyz")).status_code == 200
        nats.start()
        back = time.monotonic()
        await all_at_rest(pool, 60)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert all(service.alive for service in services)
    figures("NATS away", seconds=AWAY, at_rest_after=f"{time.monotonic() - back:.1f} s", **counts)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
async def test_a_stream_that_is_full_is_told_and_a_delay(start: Services, pool: Pool, effects: Path, limit: dict[str, int]) -> None:
    api, _ = await start("api"), await start("scheduler", **limit)
    announcer = await start("worker", app="support.handlers:app")
    await announcer.stop()
    history = History()
    async with client_of(api) as client:
        await submit_load(client, history, sized(150, 1_000), pause=0.3, type="test.work")  # the API checks the stream four times a second
        assert not history.refused
        await until(lambda: api.logged("stream refuses doorbells", reason="stream full"))
        assert (await counted(api, "waggle_doorbells_refused_total"))["stream full"] > 0
        await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
        await all_at_rest(pool, sized(40, 240))
    counts = await check(pool, history, effects, duplicates_at_most=0)
    figures("stream full", **limit, **counts)
