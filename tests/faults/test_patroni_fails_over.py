"""High availability as people run it: Patroni with a primary and a synchronous standby, and three NATS nodes. One after the other fails under load."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.keys import add_admin_key
from support.loops import again_and_again
from support.nats_cluster import NatsCluster
from support.oracle import History, all_at_rest, check, submit_load
from support.patroni import PatroniCluster, PatroniNode, patroni
from support.scale import crowd, figures, sized
from support.split import hosts
from support.system import Services, client_of
from waggle.bus.subjects import WORK_STREAM
from waggle.store import postgres as store
from waggle.store.migrate import migrate

Pool = asyncpg.Pool
LEASE = 2.0
FAILOVER_WITHIN = 45.0  # Patroni notices a primary that stands still by its ttl, 20 s
WORKS_WITHIN = 5.0  # after the new primary takes writes
NATS_WITHIN = 25.0
AT_REST_WITHIN = 30.0
FAULTS_OF_POSTGRES = sized(["killed", "switched over"], ["killed", "switched over", "hangs", "cut off"])
FAULTS_OF_NATS = sized(["leader", "all three"], ["leader", "two of three", "all three"])


@pytest.fixture
def cluster(folder: Path, logs: dict[str, Path]) -> Iterator[PatroniCluster]:
    """At full size each node is a host of its own, whose network can be cut off."""
    with ExitStack() as stack:
        places = stack.enter_context(hosts(2)) if "cut off" in FAULTS_OF_POSTGRES else ()
        made = stack.enter_context(patroni(folder / "patroni", *places))
        logs.update({node.name: node.log for node in made.nodes})
        yield made


@pytest.fixture
def brokers(folder: Path) -> Iterator[NatsCluster]:
    made = NatsCluster(folder / "nats")
    yield made
    made.kill()


@pytest.fixture
async def settings(cluster: PatroniCluster, brokers: NatsCluster) -> FleetSettings:
    await cluster.pair()
    await brokers.led()
    await migrate(cluster.url)
    await add_admin_key(cluster.url)
    return FleetSettings(postgres_url=cluster.url, nats_url=brokers.url, nats_replicas=3, api_port=0, lease=LEASE, grace=2.0)


@pytest.fixture
async def pool(settings: FleetSettings) -> AsyncIterator[Pool]:
    """Connections to whichever server is the primary."""
    async with store.pool(settings, "test", 3) as made:
        yield made


@pytest.mark.timeout(sized(170, 400))
async def test_nothing_acknowledged_is_lost_nothing_is_charged_and_work_goes_on(
    cluster: PatroniCluster, brokers: NatsCluster, settings: FleetSettings, pool: Pool, start: Services, effects: Path
) -> None:
    services = [await start("api"), await start("scheduler"), await start("dlq")]
    services.append(await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=20))
    history, measured = History(), {}
    # 20 slots do three times as much, so that no backlog is left which hides when work goes on
    task = {"type": "test.work", "payload": {"seconds": 0.05}}
    async with client_of(services[0]) as client, again_and_again(lambda: submit_load(client, history, 10, batch=10, **task), 0.05):
        await until(lambda: len(history.accepted) > 100, 20.0)
        for fault in FAULTS_OF_POSTGRES:
            measured[fault] = f"{await _postgres(fault, cluster, lambda: _goes_on(history, effects)):.1f} s"
        for fault in FAULTS_OF_NATS:
            measured[fault] = f"{await _nats(fault, brokers, lambda: _goes_on(history, effects)):.1f} s"
    await all_at_rest(pool, AT_REST_WITHIN)
    counts = await check(pool, history, effects, duplicates_at_most=0)
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE retry_count + lost_count > 0") == 0
    assert all(service.alive for service in services)
    figures("Patroni and three NATS nodes, works again after", **measured, **counts)


async def _postgres(fault: str, cluster: PatroniCluster, goes_on: Callable[[], Awaitable[None]]) -> float:
    """Seconds from the moment at which the new primary takes writes until tasks are accepted and run again."""
    primary, other = await cluster.pair()
    if fault in ("hangs", "cut off"):
        with primary.stopped() if fault == "hangs" else primary.host.cut_off():
            seconds = await _followed(other, goes_on)
    elif fault == "killed":
        primary.kill_postgres()
        seconds = await _followed(other, goes_on)
    else:
        switching = asyncio.create_task(asyncio.to_thread(primary.switch_over, other))
        seconds = await _followed(other, goes_on)
        await switching
    assert seconds <= WORKS_WITHIN * crowd(), f"{fault}: {seconds:.1f} s"
    await cluster.pair()
    return seconds


async def _followed(new: PatroniNode, goes_on: Callable[[], Awaitable[None]]) -> float:
    await until(new.takes_writes, FAILOVER_WITHIN, f"{new.name} takes writes")
    since = time.monotonic()
    await goes_on()
    return time.monotonic() - since


async def _nats(fault: str, brokers: NatsCluster, goes_on: Callable[[], Awaitable[None]]) -> float:
    """Seconds from the fault (with two or all nodes: from their return) until tasks are accepted and run again."""
    leader = await brokers.leader(WORK_STREAM)
    others = [node for node in brokers.nodes if node is not leader]
    killed = {"leader": [leader], "two of three": others, "all three": brokers.nodes}[fault]
    brokers.kill(*killed)
    if len(killed) > 1:
        brokers.start(*killed)
    since = time.monotonic()
    await goes_on()
    seconds = time.monotonic() - since
    if len(killed) == 1:
        brokers.start(*killed)
    assert seconds <= NATS_WITHIN * crowd(), f"{fault}: {seconds:.1f} s"
    return seconds


async def _goes_on(history: History, effects: Path) -> None:
    """Wait until a task that was accepted from now on has run."""
    known = len(history.accepted)
    await until(lambda: len(history.accepted) > known, 60.0, "tasks are accepted again")
    new = history.accepted[known]
    await until(lambda: f"ended {new}" in effects.read_text(), 60.0, "tasks run again")
