"""Services tell each other which primary they work with: none goes on with an old one that lives on behind connections that stayed open."""

import asyncio
import time
from typing import Final

import asyncpg
import msgspec
import structlog
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.loops import periodic, wait_for
from waggle.store.client import Pool
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.store.primary import PrimaryGate, PrimaryServer
from waggle.telemetry import catalogue

log = structlog.get_logger()

TELL_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 15.0  # between two connections that are opened only to see where the address leads; a connection costs some 20 ms of CPU
LOOKERS: Final = 4  # services that take turns with it, at most, while they hear each other
LOOK_AWAY_SECONDS: Final = 0.5  # while the service stays away from an old primary
ANSWER_SECONDS: Final = 1.0  # between two answers to those who work with another one

STALE: Final = catalogue.STALE_PRIMARY.create()


async def share(gate: PrimaryGate, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, stopping: asyncio.Event) -> None:
    """Tell the others at once what is new, and every TELL_SECONDS what is known. Somebody looks every LOOK_SECONDS where the address leads."""
    assert isinstance(pool, Pool)
    woken = asyncio.Event()
    gate.on_change = woken.set
    STALE.set_function(lambda: gate.is_refusing)
    looked = told = answered = -LOOK_SECONDS
    told_of: PrimaryServer | None = None
    heard_from, lookers = 0, 1

    async def hear(message: Msg) -> None:
        nonlocal answered, heard_from
        heard_from += 1
        try:
            heard = subjects.read_primary_message(message.data)
        except msgspec.DecodeError as error:
            log.warning("malformed message about a primary ignored", error=str(error))
            return
        if gate.hear(PrimaryServer(heard.system, heard.timeline)) and time.monotonic() >= answered + ANSWER_SECONDS:
            answered = time.monotonic()
            await tell()

    async def tell() -> None:
        if gate.seen:
            await bus.publish(subjects.PRIMARY, subjects.primary_message(*gate.seen))

    async def step() -> bool:
        nonlocal looked, told, told_of, heard_from, lookers
        woken.clear()
        now = time.monotonic()
        is_time = now >= told + TELL_SECONDS
        if is_time:
            told, heard_from, lookers = now, 0, min(max(heard_from, 1), LOOKERS)  # it hears itself too
        if is_time or gate.seen != told_of:
            told_of = gate.seen
            await tell()
        if now >= looked + pause():
            looked = now
            await look()
        await wait_for(woken, max(0.0, min(told + TELL_SECONDS, looked + pause()) - time.monotonic()))
        return True

    def pause() -> float:
        """Seconds between two looks."""
        return LOOK_AWAY_SECONDS if gate.is_refusing else LOOK_SECONDS * lookers

    async def look() -> None:
        connection = await pool.open()
        connection.terminate()

    await bus.subscribe(subjects.PRIMARY, hear)
    await periodic(LOOK_AWAY_SECONDS, step, POSTGRES_OUTAGE, stopping)
