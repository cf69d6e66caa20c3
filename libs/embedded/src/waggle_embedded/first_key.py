"""The secret, the API key and the admin of one `waggle up`: made at its first start. Secret and key are kept in files that only their owner can read; the
admin's password is shown once, and kept nowhere.
"""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from waggle import api_keys, machine
from waggle.admin import keys, passwords, users
from waggle.admin.keys import NewKey
from waggle.admin.trail import Event, Trail
from waggle.api_keys import Fingerprints, same
from waggle.scopes import Role, Scope
from waggle.settings.shared import Settings
from waggle.store import callers, postgres
from waggle.store.client import SingleConnection

SECRET_FILE: Final = "api_secret"  # noqa: S105  # a name
KEY_FILE: Final = "api_key"
BY: Final = "waggle up"
ADMIN: Final = "admin"


class Access(NamedTuple):
    """An admin's key that works, and the password of the user `admin` if they were made just now."""

    key: str
    password: str | None


def secret(data: Path) -> str:
    """The secret of this folder's keys."""
    return read(data / SECRET_FILE) or kept(data / SECRET_FILE, api_keys.instance_secret())


def access(data: Path, settings: Settings, api_secret: str) -> Access:
    """The key of the folder, or a new one; the user `admin`, if there are no users. What is made is in the audit trail. Raises what asyncpg raises."""
    with ThreadPoolExecutor(1, "first key") as thread:  # asyncio.run would take over the signals of the main thread
        return thread.submit(asyncio.run, _access(data / KEY_FILE, settings, api_secret)).result()


async def _access(file: Path, settings: Settings, api_secret: str) -> Access:
    trail = Trail(api_secret)
    connection = await postgres.connect_once(settings, "up")
    try:
        return Access(await _key(file, connection, Fingerprints(api_secret), trail), await _first_admin(connection, trail))
    finally:
        connection.terminate()


async def _key(file: Path, connection: SingleConnection, fingerprints: Fingerprints, trail: Trail) -> str:
    text = read(file)
    parsed = api_keys.parse(text)
    if parsed is not None:
        found = await callers.find_key(connection, parsed.id)
        if found is not None and same(found.secret, fingerprints.of(text.encode())):
            return text
    async with connection.transaction():
        stored, made = await keys.create(connection, NewKey(comment=BY, scopes=[Scope.ADMIN]), BY, fingerprints)
        await trail.add(connection, Event(BY, "key.create", stored.id, "", "", after={"scopes": stored.scopes}))
    return kept(file, made.text)


async def _first_admin(connection: SingleConnection, trail: Trail) -> str | None:
    if await users.page(connection, None, 1):
        return None
    password = secrets.token_urlsafe(15)
    async with connection.transaction():
        await users.create(connection, ADMIN, Role.ADMIN, passwords.hashed(password))
        await trail.add(connection, Event(BY, "user.create", ADMIN, "", "", after={"role": Role.ADMIN}))
    return password


def read(file: Path) -> str:
    """The text of a file; empty without one."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""


def kept(file: Path, text: str) -> str:
    """Replace the file by one that only its owner can read."""
    machine.write_private(file, text + "\n")
    return text
