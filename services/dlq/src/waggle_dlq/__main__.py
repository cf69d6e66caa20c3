"""`python -m waggle_dlq`: start, run and stop the dlq service."""

import asyncio
from functools import partial
from typing import Final, NoReturn

from waggle import primaries, service
from waggle.bus import connection, subjects
from waggle.bus.rpc import Endpoints
from waggle.settings.services import DlqSettings
from waggle.store import postgres
from waggle.store.primary import PrimaryGate
from waggle_dlq import automatic, cleanup, redriving, telling
from waggle_dlq.commands import Commands

DLQ_CONNECTIONS: Final = 6
NATS_WAIT_SECONDS: Final = 2.0  # then it is ready without NATS


async def run(settings: DlqSettings) -> None:
    """Cleanup, retries and redrives work without NATS; only commands need it."""
    async with service.running("dlq", settings) as dlq:
        metrics_url = await dlq.enter(service.metrics_endpoint(dlq, settings.metrics_host, settings.metrics_port))
        gate = PrimaryGate()
        pool = await dlq.enter(postgres.pool(settings, "dlq", DLQ_CONNECTIONS, gate=gate))
        bus = await dlq.enter(connection.connection(settings, "dlq"))
        dlq.start("primary", primaries.share(gate, pool, bus, dlq.stopping))
        await dlq.until(postgres.wait_until_migrated(pool))
        wake = asyncio.Event()
        endpoints = Endpoints(bus, subjects.DLQ_SERVICE, Commands(pool, bus, settings, wake).handlers())
        await endpoints.open()
        dlq.start("cleanup", cleanup.keep_clean(pool, partial(telling.tell, bus), settings, dlq.stopping))
        dlq.start("size", cleanup.watch_size(pool, dlq.stopping))
        dlq.start("redrive", redriving.redrive(pool, bus, wake, dlq.stopping))
        dlq.start("automatic retry", automatic.retry(pool, bus, settings, dlq.stopping))
        if not bus.connected:
            await dlq.until(bus.renewed(NATS_WAIT_SECONDS))
        dlq.ready(metrics_url=metrics_url)
        await dlq.stopped()
        await endpoints.close()


def main() -> NoReturn:
    service.main("dlq", DlqSettings, run)


if __name__ == "__main__":
    main()
