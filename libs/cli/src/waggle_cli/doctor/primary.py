"""Check that all services work with the primary that the doctor is connected to."""

import asyncio
from typing import Final

import msgspec
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.store import primary
from waggle.store.primary import PrimaryServer
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, error, ok, skipped

LISTEN_SECONDS: Final = 1.5  # services answer at once, each at most once a second


async def agree(deployment: Deployment) -> list[Finding]:
    """The doctor names a timeline that every service is ahead of, and they answer with theirs."""
    assert deployment.database
    assert deployment.bus
    ours = await primary.identify(deployment.database)
    if ours is None:
        return [skipped("this server is a standby", "set WAGGLE_POSTGRES_URL to the primary")]
    others: set[PrimaryServer] = set()

    async def hear(message: Msg) -> None:
        try:
            heard = subjects.read_primary_message(message.data)
        except msgspec.DecodeError:
            return
        if heard.timeline:  # not the doctor's own question
            others.add(PrimaryServer(heard.system, heard.timeline))

    await deployment.bus.subscribe(subjects.PRIMARY, hear)
    await deployment.bus.publish(subjects.PRIMARY, subjects.primary_message(ours.system, 0))
    await asyncio.sleep(LISTEN_SECONDS)
    await deployment.bus.unsubscribe(subjects.PRIMARY)
    found = [_disagrees(ours, other) for other in sorted(others - {ours})]
    return found or [ok(f"all services work with this primary, timeline {ours.timeline}")]


def _disagrees(ours: PrimaryServer, other: PrimaryServer) -> Finding:
    if other.system != ours.system:
        return error(f"services work with another Postgres system, {other.system}; this one is {ours.system}", "give all the same WAGGLE_POSTGRES_URL")
    if other.replaced(ours):
        return error(f"this server was replaced as primary: services work with {other}, this is {ours}", "correct WAGGLE_POSTGRES_URL, and stop this server")
    return error(f"services work with the old primary {other}; this is {ours}", "stop the old server, or restart those services")
