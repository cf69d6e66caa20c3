"""What is used of uvicorn beyond its documented interface: another version stops the start, and the signals stay with the service."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from support.facts import until
from support.processes import another_version, launch
from waggle.settings.shared import Settings
from waggle.telemetry import endpoint
from waggle_api.http import server
from waggle_api.http.connections import Connections


async def nothing(_: Any, __: Any, ___: Any) -> None:
    """An application that is not called."""


async def test_a_running_server_leaves_the_signal_handlers_as_they_are() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    running = server.Server(nothing, endpoint.listen("127.0.0.1", 0), Connections(10, 10), grace=1.0)
    serving = asyncio.create_task(running.serve())
    await until(lambda: running._server.started)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    await running.stop()
    await serving


@pytest.mark.parametrize("service", ["api", "scheduler"])
async def test_a_service_does_not_start_with_another_version_of_uvicorn(settings: Settings, folder: Path, service: str) -> None:
    process = launch(service, settings, folder, environ=another_version("uvicorn", folder))
    assert await process.ended() == 2
    assert f"uvicorn 0.0.1 is installed, but Waggle needs exactly {endpoint.UVICORN}" in process.tail()
