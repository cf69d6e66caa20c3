"""`python -m waggle_worker`: one worker process."""

from typing import Final, NoReturn

import structlog

from waggle import primaries, service
from waggle.bus import connection
from waggle.service import running
from waggle.settings.services import WorkerSettings
from waggle.store import postgres
from waggle.store.primary import PrimaryGate
from waggle_worker import handlers
from waggle_worker.check import served
from waggle_worker.http.request import Outgoing
from waggle_worker.resources import HandlerResources
from waggle_worker.worker import Worker

log = structlog.get_logger()

REPLACE_ME: Final = 3  # the exit code that asks for a new process
WORKER_CONNECTIONS: Final = 8  # two claims, two settles and two payloads in flight, the heartbeat, and one to spare


async def run(settings: WorkerSettings) -> None:
    outgoing = Outgoing(settings)
    found = served(settings, outgoing)
    queues = handlers.queues(found, settings.queues)
    async with running("worker", settings) as svc:
        gate = PrimaryGate()
        pool = await svc.enter(postgres.pool(settings, "worker", WORKER_CONNECTIONS, plans_once=True, gate=gate))
        bus = await svc.enter(connection.connection(settings, "worker"))
        svc.start("primary", primaries.share(gate, pool, bus, svc.stopping))
        await svc.enter(outgoing)
        metrics_url = await svc.enter(service.metrics_endpoint(svc, settings.metrics_host, settings.metrics_port))
        resources = await svc.enter(HandlerResources(found, svc.stopping.set))
        worker = Worker(settings, pool, bus, await svc.until(resources.handlers()), queues)
        await svc.until(worker.open())
        worker.start(svc)
        svc.ready(metrics_url=metrics_url)
        await svc.stopped()
        await worker.drain(settings.grace)
    if worker.left:
        log.warning("handlers did not end", count=worker.left)
    if resources.has_failed:
        service.leave(1)
    if worker.is_worn_out:
        service.leave(REPLACE_ME)


def main() -> NoReturn:
    service.main("worker", WorkerSettings, run)


if __name__ == "__main__":
    main()
