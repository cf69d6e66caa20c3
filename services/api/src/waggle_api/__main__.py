"""`python -m waggle_api`: Waggle's REST door, one process."""

import asyncio

import structlog

from waggle import service
from waggle.bus import connection as bus
from waggle.bus.ring import Ringer
from waggle.service import Service
from waggle.settings.services import ApiSettings
from waggle.store import postgres
from waggle.telemetry import endpoint
from waggle_api.app import create_app
from waggle_api.control.waits import Waits
from waggle_api.health import Health
from waggle_api.http.server import Server
from waggle_api.resources import Door
from waggle_api.submit.admission import Admission
from waggle_api.submit.catalogue import Catalogue
from waggle_api.submit.commit import PATIENCE, Committer

log = structlog.get_logger()

CONNECTIONS = 16


async def run(settings: ApiSettings) -> None:
    """Listen at once, open the door when Postgres is there; at the stop finish what was accepted."""
    listener = endpoint.listen(settings.api_host, settings.api_port)
    async with service.running("api", settings) as api:
        catalogue, door = await _furnish(api)
        server = Server(create_app(door), listener, settings.grace)
        api.start("http", server.serve())
        api.start("commit", door.committer.run())
        api.start("waits", door.waits.keep(api.stopping))
        await api.until(_open(catalogue, door))
        api.start("catalogue", catalogue.keep(api.stopping))
        address = endpoint.address(listener)
        api.ready(api_url=address, metrics_url=f"{address}/metrics")
        await api.stopped()
        door.waits.end()
        await server.stop()
        await _drain(door.committer)


async def _furnish(api: Service[ApiSettings]) -> tuple[Catalogue, Door]:
    pool = await api.enter(postgres.pool(api.settings, "api", CONNECTIONS))
    health_pool = await api.enter(postgres.pool(api.settings, "api-health", 1))
    nats = await api.enter(bus.connection(api.settings, "api"))
    ringer, catalogue, waits = Ringer(nats), Catalogue(pool), Waits(pool, nats)
    await ringer.open()
    await waits.open()
    admission = Admission(catalogue, accept_unknown=api.settings.unknown_types == "accept")
    committer = Committer(pool, nats, ringer, catalogue)
    return catalogue, Door(pool=pool, bus=nats, admission=admission, committer=committer, waits=waits, health=Health(health_pool, nats))


async def _open(catalogue: Catalogue, door: Door) -> None:
    """Wait for Postgres and its schema, read the catalogue, then let requests in."""
    while True:
        await postgres.wait_until_migrated(door.pool)
        try:
            await catalogue.newer()
        except postgres.OUTAGE:
            continue
        door.health.is_open = True
        return


async def _drain(committer: Committer) -> None:
    """What clients no longer wait for is committed and rung all the same."""
    try:
        async with asyncio.timeout(2 * PATIENCE):
            await committer.drained()
    except TimeoutError:
        log.warning("stopped with submissions that were not committed; their callers were not told that they are")


if __name__ == "__main__":
    service.main("api", ApiSettings, run)
