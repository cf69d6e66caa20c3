"""The NATS server that `waggle up` starts: only who knows its password may publish, command or purge."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.servers import NatsServer
from waggle_embedded.placement import temporary_folder


async def said(port: int, **options: Any) -> list[str]:
    """What the server says to who connects with these options, and then publishes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"CONNECT " + json.dumps({"verbose": False, **options}).encode() + b"\r\nPUB waggle.due 0\r\n\r\nPING\r\n")
        return [(await reader.readline()).decode().strip().partition(" {")[0] for _ in range(2)]
    finally:
        writer.close()


@pytest.mark.parametrize("options", [{}, {"user": "waggle"}, {"user": "waggle", "pass": "guessed"}, {"user": "admin", "pass": "admin"}, {"auth_token": "a"}])
async def test_a_stranger_is_refused(nats: NatsServer, options: dict[str, str]) -> None:
    assert await said(nats.port, **options) == ["INFO", "-ERR 'Authorization Violation'"]


async def test_the_password_stays_over_restarts_and_only_the_owner_can_read_it(nats: NatsServer) -> None:
    password = urlsplit(nats.url).password or ""
    assert len(password) >= 32
    nats.kill()
    nats.start()
    assert urlsplit(nats.url).password == password
    assert await said(nats.port, user="waggle", **{"pass": password}) == ["INFO", "PONG"]
    holding = [file for file in nats.folder.rglob("*") if file.is_file() and password.encode() in file.read_bytes()]
    assert {file.name for file in holding} == {"nats.conf", "password"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in holding} == {0o600}
    assert password not in Path(f"/proc/{nats.pid}/cmdline").read_text()


def test_each_folder_has_a_password_of_its_own() -> None:
    with temporary_folder() as folder:
        servers = [NatsServer(folder / name) for name in ("one", "two")]
        try:
            assert servers[0].url.partition("@")[0] != servers[1].url.partition("@")[0]
        finally:
            for server in servers:
                server.kill()
