"""The stop of a service."""

import asyncio

import pytest

from waggle import service
from waggle.settings import Settings


async def test_a_loop_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libraries do, at times: the stop would wait for it for ever."""
    monkeypatch.setattr(service, "AGAIN_SECONDS", 0.05)
    lost = 0

    async def goes_on() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        async with service.running("test", Settings(postgres_url="x", nats_url="x")) as running:
            running.start("deaf", goes_on())
            await asyncio.sleep(0)
    assert lost == 2
