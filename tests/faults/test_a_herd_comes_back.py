"""Many clients lose NATS at once, again and again: their reconnects are spread over time."""

import asyncio
import time
from contextlib import AsyncExitStack

import structlog.testing

from support.facts import until
from support.fleet import FleetSettings
from support.scale import dice, figures, sized
from support.servers import NatsServer
from waggle.bus import connection
from waggle.bus.connection import RECONNECT_CAP_SECONDS, Bus

CLIENTS = sized(15, 50)
RESTARTS = sized(2, 5)
AWAY = 3.0  # seconds until the waits have grown to their cap
WINDOW = 0.25
# At the cap a wait is between a quarter of it and all of it: this is the average number of reconnects in a window. Chance may double it, and a bit more.
FAIR = CLIENTS * WINDOW / (RECONNECT_CAP_SECONDS * 3 / 4)
MOST = 2 * FAIR + 5


async def returns(buses: list[Bus], generations: list[int]) -> list[float]:
    """The time of each reconnect."""

    async def back(bus: Bus, generation: int) -> float:
        while bus.generation == generation or not bus.connected:
            await bus.renewed(1.0)
        return time.monotonic()

    async with asyncio.timeout(30):
        return sorted(await asyncio.gather(*(back(bus, generation) for bus, generation in zip(buses, generations, strict=True))))


def peak(times: list[float]) -> int:
    """The highest number in one window."""
    return max(sum(start <= other < start + WINDOW for other in times) for start in times)


async def test_few_of_them_come_at_once(nats: NatsServer, settings: FleetSettings) -> None:
    dice()
    async with AsyncExitStack() as stack:
        stack.enter_context(structlog.testing.capture_logs())  # hides a few hundred log lines
        buses = [await stack.enter_async_context(connection.connection(settings, f"herd{n}")) for n in range(CLIENTS)]
        await until(lambda: all(bus.connected for bus in buses))
        peaks, took = [], []
        for _ in range(RESTARTS):
            generations = [bus.generation for bus in buses]
            nats.kill()
            await asyncio.sleep(AWAY)  # the fault itself
            nats.start()
            started = time.monotonic()
            times = await returns(buses, generations)
            peaks.append(peak(times))
            took.append(times[-1] - started)
        figures("a herd comes back", clients=CLIENTS, restarts=RESTARTS, peak_in_a_quarter_second=max(peaks), last_one_after=f"{max(took):.1f} s")
        assert max(peaks) <= MOST, f"{peaks} of {CLIENTS} came back within {WINDOW} s"
