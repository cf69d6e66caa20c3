"""NATS is connected but stores nothing, after a full disk or without a quorum: services notice, tasks are accepted and wait, nothing green stands still."""

import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx2
import pytest

from support import full_disk
from support.facts import until
from support.fleet import FleetSettings
from support.loops import again_and_again
from support.metrics import counted
from support.nats_cluster import NatsCluster
from support.oracle import History, all_at_rest, check, submit_load
from support.processes import Process
from support.scale import figures
from support.servers import NatsServer
from support.system import Services, client_of

Pool = asyncpg.Pool
NOTICED_WITHIN = 15.0
WELL_WITHIN = 15.0


async def health(client: httpx2.AsyncClient) -> tuple[str, str]:
    report = (await client.get("/health")).json()
    return report["status"], report["checks"]["nats"]["status"]


async def noticed(client: httpx2.AsyncClient, services: list[Process], since: float) -> float:
    """Wait until the services say so; seconds since `since`."""

    async def all_say() -> bool:
        gauges = [await counted(process, "waggle_nats_not_storing") for process in services]
        return await health(client) == ("degraded", "unavailable") and all(sum(gauge.values()) == 1 for gauge in gauges)

    await until(all_say, NOTICED_WITHIN, "the services notice")
    for service in services:
        [line] = service.logged("NATS is connected but stores nothing; tasks are accepted and wait")
        assert line["level"] == "error"
    return time.monotonic() - since


async def untouched(pool: Pool) -> None:
    """While nothing is stored, nobody marks tasks as rung."""
    last = "SELECT max(rung_at) FROM waggle.tasks"
    before = await pool.fetchval(last)
    count = await pool.fetchval("SELECT count(*) FROM waggle.tasks")
    await until(lambda: pool.fetchval("SELECT count(*) > $1 FROM waggle.tasks", count + 50), 10.0, "tasks are accepted")
    assert await pool.fetchval(last) == before


async def test_after_a_full_disk_it_is_an_outage_until_nats_is_restarted(start: Services, nats: NatsServer, pool: Pool, effects: Path) -> None:
    api, scheduler = await start("api"), await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
    history = History()
    async with client_of(api) as client, again_and_again(lambda: submit_load(client, history, 10, batch=10, type="test.work"), 0.1):
        await until(lambda: len(history.accepted) > 50, 10.0)
        full_disk.fill(nats.pid)
        seconds = await noticed(client, [api, scheduler], time.monotonic())
        await untouched(pool)
        full_disk.make_room(nats.pid)
        await untouched(pool)
        assert await health(client) == ("degraded", "unavailable"), "room alone does not help"
        nats.kill()
        nats.start()
        since = time.monotonic()
        await until(lambda: well(client), WELL_WITHIN, "the services see that it stores again")
    await all_at_rest(pool, WELL_WITHIN)
    rest = time.monotonic() - since
    counts = await check(pool, history, effects, duplicates_at_most=0)
    figures("NATS after a full disk", noticed_after=f"{seconds:.1f} s", at_rest_after=f"{rest:.1f} s", **counts)


async def well(client: httpx2.AsyncClient) -> bool:
    return await health(client) == ("ok", "ok")


@pytest.fixture
def cluster(folder: Path) -> Iterator[NatsCluster]:
    nodes = NatsCluster(folder / "cluster")
    yield nodes
    nodes.kill()


class TestThreeNodes:
    """Two of three nodes are killed; the third one stays connected."""

    @pytest.fixture
    def settings(self, database: str, cluster: NatsCluster) -> FleetSettings:
        return FleetSettings(postgres_url=database, nats_url=cluster.url, nats_replicas=3, api_port=0, lease=2.0, grace=2.0)

    async def test_without_a_quorum_it_is_an_outage_until_the_nodes_are_back(self, start: Services, cluster: NatsCluster, pool: Pool, effects: Path) -> None:
        await cluster.led()
        api, scheduler = await start("api"), await start("scheduler")
        await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app")
        history = History()
        async with client_of(api) as client, again_and_again(lambda: submit_load(client, history, 10, batch=10, type="test.work"), 0.1):
            await until(lambda: pool.fetchval("SELECT count(*) > 50 FROM waggle.tasks WHERE status = 'completed'"), 20.0)
            cluster.kill(*cluster.nodes[1:])
            seconds = await noticed(client, [api, scheduler], time.monotonic())
            await untouched(pool)
            cluster.start(*cluster.nodes[1:])
            since = time.monotonic()
            await until(lambda: well(client), 2 * WELL_WITHIN, "the services see that it stores again")
        await all_at_rest(pool, 2 * WELL_WITHIN)
        rest = time.monotonic() - since
        counts = await check(pool, history, effects, duplicates_at_most=100)
        figures("NATS without a quorum", noticed_after=f"{seconds:.1f} s", at_rest_after=f"{rest:.1f} s", **counts)
