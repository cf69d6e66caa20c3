"""The NATS server that `waggle up` starts: only who knows a password may do anything, and each service only what it needs."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.servers import NatsServer
from waggle_embedded import services
from waggle_embedded.placement import temporary_folder


async def said(port: int, *lines: str, **options: Any) -> list[str]:
    """What the server says to who connects with these options and sends these lines; the last one is PONG if it took them all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join([f"CONNECT {json.dumps({'verbose': False, **options})}", *lines, "PING", ""]).encode())
        found: list[str] = []
        while not found or found[-1] not in ("PONG", ""):
            found.append((await reader.readline()).decode().strip().partition(" {")[0])
        return found[1:]
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "options", [{}, {"user": "operator"}, {"user": "operator", "pass": "guessed"}, {"user": "admin", "pass": "admin"}, {"auth_token": "a"}]
)
async def test_a_stranger_is_refused(nats: NatsServer, options: dict[str, str]) -> None:
    assert await said(nats.port, "PUB waggle.due 0", "", **options) == ["-ERR 'Authorization Violation'", ""]


async def test_passwords_stay_over_restarts_and_only_the_owner_can_read_them(nats: NatsServer) -> None:
    password = urlsplit(nats.url).password or ""
    assert len(password) >= 32
    nats.kill()
    nats.start()
    assert urlsplit(nats.url).password == password
    assert await said(nats.port, user="operator", **{"pass": password}) == ["PONG"]
    holding = [file for file in nats.folder.rglob("*") if file.is_file() and password.encode() in file.read_bytes()]
    assert {file.name for file in holding} == {"nats.conf", "passwords.json"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in holding} == {0o600}
    assert password not in Path(f"/proc/{nats.pid}/cmdline").read_text()


# What each service may publish, of everything that somebody could want to publish here.
PUBLISH = {
    "waggle.work.default.low": {"api", "scheduler"},
    "waggle.work._probe": {"api", "scheduler"},
    "waggle.due": {"api", "worker", "dlq", "scheduler"},
    "waggle.settled": {"api", "worker", "dlq", "scheduler"},
    "waggle.primary": {"api", "worker", "dlq", "scheduler"},
    "waggle.control.all": {"api", "scheduler"},
    "waggle.control.host-1234": {"api", "scheduler"},
    "waggle.logs.host-1234": {"api"},
    "waggle.rpc.dlq.retry": {"api"},
    "waggle.rpc.dlq.cleanup": {"api"},
    "waggle.rpc.submit": set[str](),
    "waggle.submit.shop.email": set[str](),
    "waggle.rejected.shop.email": {"api"},
    "waggle.event.completed.1.email": {"api", "worker", "dlq", "scheduler"},
    "waggle.stream.1": {"worker"},
    "$JS.ACK.WAGGLE_SUBMIT.ingest.1.1.1.1.0": {"api"},
    "$JS.API.CONSUMER.MSG.NEXT.WAGGLE_SUBMIT.ingest": {"api"},
    "$JS.API.CONSUMER.INFO.WAGGLE_SUBMIT.ingest": {"scheduler"},
    "$JS.API.CONSUMER.DURABLE.CREATE.WAGGLE_SUBMIT.ingest": {"scheduler"},
    "$JS.API.CONSUMER.DELETE.WAGGLE_SUBMIT.ingest": set[str](),
    "$JS.API.DIRECT.GET.WAGGLE_SUBMIT": set[str](),
    "$JS.API.DIRECT.GET.WAGGLE_REJECTED": {"api"},
    "$JS.API.STREAM.MSG.DELETE.WAGGLE_REJECTED": {"api"},
    "$JS.API.DIRECT.GET.WAGGLE_EVENTS": {"api"},
    "$JS.API.DIRECT.GET.WAGGLE_STREAMS": {"api"},
    **{f"$JS.API.STREAM.{verb}.WAGGLE_{name}": {"scheduler"} for verb in ("INFO", "CREATE", "UPDATE") for name in ("SUBMIT", "REJECTED", "EVENTS", "STREAMS")},
    **{f"$JS.API.STREAM.{verb}.WAGGLE_{name}": set[str]() for verb in ("DELETE", "PURGE") for name in ("SUBMIT", "REJECTED", "EVENTS", "STREAMS")},
    "$JS.API.STREAM.INFO.WAGGLE_EVENTS": {"api", "scheduler"},
    "waggle": set[str](),
    "other": set[str](),
    "$KV.waggle_breakers.smtp": {"api", "worker"},
    "$KV.other.key": set[str](),
    "_INBOX.waggle-api.x": set[str](),
    "_INBOX.waggle-worker.x": set[str](),
    "$SRV.PING": set[str](),
    "$SYS.REQ.SERVER.PING": set[str](),
    "$JS.ACK.WAGGLE_WORK.default-low.1.1.1.1.0": {"worker"},
    "$JS.ACK.KV_waggle_breakers.c.1.1.1.1.0": set[str](),
    "$JS.API.INFO": set[str](),
    "$JS.API.STREAM.NAMES": set[str](),
    "$JS.API.STREAM.LIST": set[str](),
    **{f"$JS.API.STREAM.{verb}.WAGGLE_WORK": {"scheduler"} for verb in ("INFO", "CREATE", "UPDATE")},
    "$JS.API.STREAM.MSG.GET.WAGGLE_WORK": {"api", "scheduler"},
    **{f"$JS.API.STREAM.{verb}.WAGGLE_WORK": {"api", "scheduler"} for verb in ("PURGE", "MSG.DELETE")},
    **{f"$JS.API.STREAM.{verb}.WAGGLE_WORK": set[str]() for verb in ("DELETE", "SNAPSHOT", "RESTORE", "PEER.REMOVE", "LEADER.STEPDOWN")},
    "$JS.API.STREAM.INFO.KV_waggle_breakers": {"api", "worker", "scheduler"},
    "$JS.API.STREAM.MSG.GET.KV_waggle_breakers": {"api", "worker", "scheduler"},
    **{f"$JS.API.STREAM.{verb}.KV_waggle_breakers": {"scheduler"} for verb in ("CREATE", "UPDATE")},
    **{f"$JS.API.STREAM.{verb}.KV_waggle_breakers": set[str]() for verb in ("DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT")},
    **{f"$JS.API.STREAM.{verb}.OTHER": set[str]() for verb in ("INFO", "CREATE", "DELETE", "PURGE", "MSG.GET")},
    "$JS.API.DIRECT.GET.WAGGLE_WORK": set[str](),
    "$JS.API.CONSUMER.MSG.NEXT.WAGGLE_WORK.default-low": {"worker"},
    "$JS.API.CONSUMER.MSG.NEXT.OTHER.c": set[str](),
    "$JS.API.CONSUMER.NAMES.WAGGLE_WORK": {"scheduler"},
    "$JS.API.CONSUMER.INFO.WAGGLE_WORK.default-low": {"scheduler"},
    "$JS.API.CONSUMER.DURABLE.CREATE.WAGGLE_WORK.default-low": {"scheduler"},
    "$JS.API.CONSUMER.DURABLE.CREATE.OTHER.c": set[str](),
    "$JS.API.CONSUMER.CREATE.WAGGLE_WORK.c": set[str](),
    "$JS.API.CONSUMER.CREATE.KV_waggle_breakers.c": set[str](),
    "waggle.rate.logins.0123456789abcdef01234567.29833334": {"api"},
    "$JS.API.STREAM.INFO.WAGGLE_RATES": {"scheduler"},
    **{f"$JS.API.STREAM.{verb}.WAGGLE_RATES": {"scheduler"} for verb in ("CREATE", "UPDATE")},
    **{f"$JS.API.STREAM.{verb}.WAGGLE_RATES": set[str]() for verb in ("DELETE", "PURGE", "MSG.GET", "MSG.DELETE")},
    "$JS.API.DIRECT.GET.WAGGLE_RATES.waggle.rate.x": set[str](),
    "$JS.API.CONSUMER.DELETE.WAGGLE_WORK.default-low": set[str](),
    "$JS.API.CONSUMER.PAUSE.WAGGLE_WORK.default-low": set[str](),
    "$JS.API.ACCOUNT.PURGE.WAGGLE": set[str](),
    "$JS.API.META.LEADER.STEPDOWN": set[str](),
    "$JS.API.SERVER.REMOVE": set[str](),
}
SUBSCRIBE = {
    "waggle.settled": {"api"},
    "waggle.due": {"scheduler"},
    "waggle.primary": {"api", "worker", "dlq", "scheduler"},
    "waggle.control.all": {"worker"},
    "waggle.control.host-1234": {"worker"},
    "waggle.rpc.dlq.retry": {"dlq"},
    "waggle.rpc.submit": {"api"},
    "waggle.submit.>": set[str](),
    "waggle.event.>": {"api"},
    "waggle.stream.1": {"api"},
    "$SRV.PING": {"api", "dlq"},
    "waggle.work.>": set[str](),
    "waggle.>": set[str](),
    ">": set[str](),
    "$KV.waggle_breakers.>": {"worker"},
    "_INBOX.>": set[str](),
    "_INBOX.*": set[str](),
    **{f"_INBOX.waggle-{service}.>": {service} for service in services.SERVICES},
    "$JS.EVENT.>": set[str](),
    "$JS.ACK.>": set[str](),
    "$SYS.>": set[str](),
}


@pytest.mark.parametrize("service", services.SERVICES)
async def test_a_service_may_do_what_it_needs_and_nothing_else(nats: NatsServer, service: str) -> None:
    def options() -> dict[str, Any]:
        address = urlsplit(nats.url_of(service))
        return {"user": address.username, "pass": address.password, "headers": True}

    for subject, allowed in PUBLISH.items():
        expected = ["PONG"] if service in allowed else [f"-ERR 'Permissions Violation for Publish to \"{subject}\"'", "PONG"]
        assert await said(nats.port, f"PUB {subject} 0", "", **options()) == expected, subject
    for subject, allowed in SUBSCRIBE.items():
        expected = ["PONG"] if service in allowed else [f"-ERR 'Permissions Violation for Subscription to \"{subject}\"'", "PONG"]
        assert await said(nats.port, f"SUB {subject} 1", **options()) == expected, subject


def test_each_folder_has_a_password_of_its_own() -> None:
    with temporary_folder() as folder:
        servers = [NatsServer(folder / name) for name in ("one", "two")]
        try:
            assert servers[0].url.partition("@")[0] != servers[1].url.partition("@")[0]
        finally:
            for server in servers:
                server.kill()
