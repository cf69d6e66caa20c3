"""The publishers of one `waggle up`: one called `default`, made at the first start, and those that admins add. NATS takes them within seconds."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from waggle.admin import publishers
from waggle.admin.publishers import NewPublisher
from waggle.admin.trail import Event, Trail
from waggle.bus.users import NatsPublisher
from waggle.settings.shared import Settings
from waggle.store import postgres
from waggle.store import publishers as stored
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_embedded.first_key import BY, kept, read

DEFAULT: Final = "default"
FILE: Final = "publisher"
LOOK_SECONDS: Final = 1.0

LetIn = Callable[[list[NatsPublisher]], None]


def make_default(data: Path, settings: Settings, api_secret: str) -> str:
    """The password of the publisher `default`, kept in a file that only its owner can read. What is made is in the audit trail, if there is
    a secret for that. Raises what asyncpg raises."""
    with ThreadPoolExecutor(1, "publisher") as thread:  # asyncio.run would take over the signals of the main thread
        return thread.submit(asyncio.run, _make(data / FILE, settings, api_secret)).result()


async def _make(file: Path, settings: Settings, api_secret: str) -> str:
    connection = await postgres.connect_once(settings, "up")
    try:
        there = {found.name: found for found in await stored.everybody(connection)}
        password = read(file)
        if DEFAULT in there and password and publishers.fits(password, there[DEFAULT].password):
            return password
        password = publishers.new_password()
        async with connection.transaction():
            if DEFAULT in there:
                await publishers.rotate(connection, DEFAULT, password)
            else:
                await publishers.create(connection, NewPublisher(name=DEFAULT, events=True), BY, password)
            event = "publisher.rotate" if DEFAULT in there else "publisher.create"
            if api_secret:
                await Trail(api_secret).add(connection, Event(BY, event, DEFAULT, "", ""))
        return kept(file, password)
    finally:
        connection.terminate()


def keep(settings: Settings, let_in: LetIn, stopping: threading.Event) -> threading.Thread:
    """Tell NATS of every change of the publishers, until `stopping`."""
    thread = threading.Thread(target=lambda: asyncio.run(_keep(settings, let_in, stopping)), name="publishers", daemon=True)
    thread.start()
    return thread


async def _keep(settings: Settings, let_in: LetIn, stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            connection = await postgres.connect_once(settings, "up-publishers")
        except POSTGRES_OUTAGE:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        try:
            while not stopping.is_set():
                let_in([NatsPublisher(found.name, found.password, found.events) for found in await stored.everybody(connection)])
                await asyncio.sleep(LOOK_SECONDS)
        except POSTGRES_OUTAGE:
            await asyncio.sleep(LOOK_SECONDS)
        finally:
            connection.terminate()
