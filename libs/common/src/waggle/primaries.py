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
LOOK_SECONDS: Final = 15.0  # between two connections that are opened only to see where the address leads
LOOK_AWAY_SECONDS: Final = 0.5  # while the service stays away from an old primary
ANSWER_SECONDS: Final = 1.0  # between two answers to those who work with another one

STALE: Final = catalogue.STALE_PRIMARY.create()


async def share(gate: PrimaryGate, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, stopping: asyncio.Event) -> None:
    """Tell the others at once what is new, and every TELL_SECONDS what is known; look every LOOK_SECONDS where the address leads."""
    assert isinstance(pool, Pool)
    changed = asyncio.Event()
    gate.on_change = changed.set
    STALE.set_function(lambda: gate.is_refusing)
    looked = told = answered = -LOOK_SECONDS

    async def hear(message: Msg) -> None:
        nonlocal answered
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
        nonlocal looked, told
        now = time.monotonic()
        if changed.is_set() or now >= told + TELL_SECONDS:
            changed.clear()
            told = now
            await tell()
        if now >= looked + (LOOK_AWAY_SECONDS if gate.is_refusing else LOOK_SECONDS):
            looked = now
            await look()
        await wait_for(changed, LOOK_AWAY_SECONDS)
        return True

    async def look() -> None:
        connection = await pool.open()
        connection.terminate()

    await bus.subscribe(subjects.PRIMARY, hear)
    await periodic(LOOK_AWAY_SECONDS, step, POSTGRES_OUTAGE, stopping)
