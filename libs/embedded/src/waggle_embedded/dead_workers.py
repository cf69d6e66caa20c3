"""What a parent does for a worker process that it saw die: it ends the leases of that process, so that its tasks run again at once.

The parent has waited for the process, so nothing of it runs any more. The process takes its leases under a token that its parent made up for it.
"""

import asyncio
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Final

from waggle.settings.environment import read
from waggle.settings.services import WorkerSettings
from waggle.settings.shared import SettingsError
from waggle.store import leases, postgres
from waggle.store.postgres import POSTGRES_OUTAGE

RETRY_SECONDS: Final = 0.3
STATEMENT_SECONDS: Final = 5.0


def new_token() -> str:
    """For one start of one worker process."""
    return secrets.token_hex(8)


def end_leases(environ: Mapping[str, str], say: Callable[[str], None]) -> threading.Thread:
    """End the leases of the dead process that had this environment, in a thread. Its main thread must be able to start the next process meanwhile."""
    thread = threading.Thread(target=_end, args=(dict(environ), say), name="end leases", daemon=True)
    thread.start()
    return thread


def _end(environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    try:
        settings = read(WorkerSettings, environ)
        ended = asyncio.run(until_ended(settings))
    except (SettingsError, TimeoutError) as error:
        say(f"its lease could not be ended, so its tasks wait until it expires: {error or 'Postgres did not answer'}")
    else:
        if ended:
            say("its lease is ended: its tasks run again at once")


async def until_ended(settings: WorkerSettings) -> list[str]:
    """The ids of the leases that it ended. Tries for as long as a lease lasts, then raises TimeoutError: the lease has expired by itself."""
    async with asyncio.timeout(settings.lease):
        while True:
            try:
                connection = await postgres.connect_once(settings, "supervisor", statement_seconds=STATEMENT_SECONDS)
                try:
                    return await leases.end(connection, settings.lease_token)
                finally:
                    connection.terminate()
            except POSTGRES_OUTAGE:
                await asyncio.sleep(RETRY_SECONDS)
