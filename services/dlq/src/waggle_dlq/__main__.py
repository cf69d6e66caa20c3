"""`python -m waggle_dlq`: the service's life."""

from typing import Final, NoReturn

from waggle import service
from waggle.settings import Settings
from waggle.store import postgres
from waggle_dlq import cleanup

CONNECTIONS: Final = 2


async def run(settings: Settings) -> None:
    async with service.running("dlq", settings) as dlq:
        metrics_url = await dlq.enter(service.metrics_endpoint(dlq))
        pool = await dlq.enter(postgres.pool(settings, "dlq", CONNECTIONS))
        await dlq.until(postgres.wait_until_migrated(pool))
        dlq.start("cleanup", cleanup.keep_clean(pool, settings, dlq.stopping))
        dlq.start("size", cleanup.watch_size(pool, dlq.stopping))
        dlq.ready(metrics_url=metrics_url)
        await dlq.stopped()


def main() -> NoReturn:
    service.main("dlq", run)


if __name__ == "__main__":
    main()
