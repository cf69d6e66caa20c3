"""The connections of all services to one server die silently: each service notices within 15 seconds and recovers without a restart."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from support.facts import until
from support.oracle import History, all_at_rest, check, submit_load
from support.processes import Process
from support.proxy import Proxy, proxy
from support.scale import crowd, figures, sized
from support.system import Client, Services, client_of

Pool = asyncpg.Pool

NOTICED = 15.0
BUSY = sized(5.0, 1.0)  # extra seconds for a machine that runs other tests as well
LEASE = 60.0  # a dead connection costs no try when it lasts less than a lease
TASKS = sized(200, 2_000)
NAMES = ("api", "scheduler", "dlq", "worker")


SERVERS = sized([("NATS", "Postgres")], [("NATS",), ("Postgres",), ("NATS", "Postgres")])


def lost_nats(process: Process) -> bool:
    return bool(process.logged("NATS disconnected, reconnecting"))


def lost_postgres(process: Process) -> bool:
    return any(process.logged(event) for event in ("outage, waiting", "heartbeat failed"))


HAS_LOST: dict[str, Callable[[Process], bool]] = {"NATS": lost_nats, "Postgres": lost_postgres}


@dataclass
class Linked:
    """Services whose connections to each server can be cut."""

    services: dict[str, Process]
    links: dict[str, Proxy]


@asynccontextmanager
async def linked(start: Services, effects: Path) -> AsyncIterator[Linked]:
    settings = start.settings
    async with AsyncExitStack() as stack:
        nats, postgres = [await stack.enter_async_context(proxy(urlsplit(url).port or 0)) for url in (settings.nats_url, settings.postgres_url)]
        changes = {"nats_url": nats.url(settings.nats_url), "postgres_url": postgres.url(settings.postgres_url), "lease": LEASE}
        environ = {"EFFECTS": str(effects)}
        services = {name: await start(name, environ=environ, **changes, **({"app": "support.handlers:app"} if name == "worker" else {})) for name in NAMES}
        yield Linked(services, {"NATS": nats, "Postgres": postgres})


async def noticed(services: dict[str, Process], servers: tuple[str, ...]) -> dict[str, float]:
    """The seconds after which each service logged the loss of each server."""
    since, found = time.monotonic(), dict[str, float]()
    wanted = {f"{name} of {server}": (process, HAS_LOST[server]) for server in servers for name, process in services.items()}

    def all_have() -> bool:
        for what, (process, has_lost) in wanted.items():
            if what not in found and has_lost(process):
                found[what] = time.monotonic() - since
        return found.keys() == wanted.keys()

    await until(all_have, 2 * NOTICED, f"all notice it (so far: {found})")
    return found


async def healthy(client: Client, servers: tuple[str, ...]) -> bool:
    return all([(await client.get({"NATS": "/health/nats", "Postgres": "/health/db"}[server])).status_code == 200 for server in servers])


@pytest.mark.parametrize("servers", SERVERS, ids=" and ".join)
async def test_every_service_notices_it_in_time_and_heals(start: Services, pool: Pool, effects: Path, servers: tuple[str, ...]) -> None:
    async with linked(start, effects) as system, client_of(system.services["api"]) as client:
        history = History()
        await submit_load(client, history, TASKS, type="test.work", max_retries=0)
        await all_at_rest(pool, 30)
        for server in servers:
            system.links[server].cut()
        seconds = await noticed(system.services, servers)
        assert max(seconds.values()) <= NOTICED + BUSY * crowd(), f"noticed after {seconds}"
        assert not await healthy(client, servers)
        for server in servers:
            system.links[server].heal()
        healed = time.monotonic()
        await until(lambda: healthy(client, servers), 20.0)
        await submit_load(client, history, TASKS, type="test.work", max_retries=0)
        await all_at_rest(pool, 40)
        took = time.monotonic() - healed
        counts = await check(pool, history, effects, duplicates_at_most=0)
        assert all(process.alive for process in system.services.values())
        assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE attempt <> 1") == 0
        said = "; ".join(f"{what} {second:.1f} s" for what, second in seconds.items())
        figures(f"links to {' and '.join(servers)} stand still", noticed=said, work_done_again_after=f"{took:.1f} s", tasks=counts["tasks"])
