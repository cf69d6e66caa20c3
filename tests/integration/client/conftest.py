"""One system for all tests of the client, and both of its faces."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.keys import ADMIN_KEY
from support.one_system import OneSystem, one_system
from support.processes import end, launch, ready
from support.servers import PostgresServer, run
from waggle import Client, SyncClient


class Threaded:
    """The methods of a SyncClient, or of what it returns, as coroutines: each call runs in a thread."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return threaded(await asyncio.to_thread(found, *args, **kwargs))

        return call


def threaded(value: Any) -> Any:
    """Handles as the tests use them."""
    if isinstance(value, list):
        return [threaded(each) for each in value]
    return Threaded(value) if type(value).__name__ == "SyncTaskHandle" else value


async def listed(found: Any) -> list[Any]:
    """All of a list, of either face."""
    if hasattr(found, "__aiter__"):
        return [item async for item in found]
    return await asyncio.to_thread(list, await found)


@pytest.fixture(scope="session")
def system(postgres: PostgresServer, session_folder: Path) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "client", app="support.client_handlers:app", lease=15.0) as found:
        dlq = launch("dlq", found.settings, session_folder / "client")
        try:
            run(ready(dlq))
            yield found
        finally:
            run(end(dlq))


@pytest.fixture(params=["async", "sync"])
async def client(system: OneSystem, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Both faces of the client, with the same calls."""
    if request.param == "async":
        async with Client(system.api.api_url, ADMIN_KEY) as made:
            yield made
    else:
        with SyncClient(system.api.api_url, ADMIN_KEY) as other:
            yield Threaded(other)
