"""A service stops, whatever its loops do."""

import asyncio
import subprocess
import sys

import pytest

from waggle import service
from waggle.settings.shared import Settings


async def test_a_loop_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries do that at times. Without a second cancellation the stop would never end."""
    monkeypatch.setattr(service, "CANCEL_SECONDS", 0.05)
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


async def deaf_once() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def crash() -> None:
    raise ArithmeticError("a loop")


@pytest.mark.parametrize("where", ["in a loop", "in the body"])
async def test_a_crash_ends_it_beside_a_loop_that_loses_a_cancellation(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CANCEL_SECONDS", 0.05)

    async def life() -> None:
        async with service.running("test", Settings(postgres_url="x", nats_url="x")) as running:
            running.start("deaf", deaf_once())
            await asyncio.sleep(0)
            if where == "in the body":
                raise ArithmeticError("the body")
            running.start("crashing", crash())
            await running.stopped()

    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(life(), 10)
    assert raised.group_contains(ArithmeticError)


DEAF = """
import asyncio
from waggle import service
from waggle.settings.shared import Settings

async def deaf():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def main():
    service.CANCEL_SECONDS = 0.02
    async with service.running("test", Settings(postgres_url="x", nats_url="x")) as running:
        running.start("deaf", deaf())
        await asyncio.sleep(0)

asyncio.run(main())
"""


def test_a_loop_that_never_ends_ends_with_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "loops ignore cancellation, exiting" in ended.stdout + ended.stderr
