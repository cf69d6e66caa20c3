"""Alerts without any Prometheus: looks for reasons to tell somebody, and tells the webhook of `WAGGLE_ALERT_URL` once that each fires and once that it is over.

Several schedulers look alike; Postgres lets one of them raise and tell each alert. A message that the webhook does not take becomes a task of the type
`alert.send`, which is tried again as any other. The first try needs no worker: that none is alive is one of the reasons.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog
from uuid_utils.compat import uuid7

from waggle import webhooks
from waggle.bus import breakers
from waggle.bus.breakers import State
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.ring import Ringer
from waggle.loops import LONGEST_SECONDS, periodic, wait_for
from waggle.settings.services import SchedulerSettings
from waggle.store import alerts, catalogue, figures, queues, tasks
from waggle.store.alerts import Alert, Message
from waggle.store.client import Connection
from waggle.store.tasks import NewTask
from waggle.task import DEFAULT_QUEUE, Priority
from waggle_scheduler import OUTAGE

log = structlog.get_logger()

SHARE: Final = 0.1  # of the time that the looks may take
OVER_SECONDS: Final = 60.0  # that nobody has seen an alert before it is over: it does not flap
KEPT_SECONDS: Final = 30 * 86_400.0
ERROR_SECONDS: Final = 600.0  # over which the rate of failures is taken
FEWEST: Final = 20  # tasks in that time: of fewer a rate says little
DEAD_SECONDS: Final = 1800.0
UNSERVED_SECONDS: Final = 120.0  # that tasks are due without a worker
BREAKER_SECONDS: Final = 600.0
TRANSACTION_SECONDS: Final = 900.0
DISK_SHARE: Final = 0.1
SEND: Final = "alert.send"
SEND_RETRIES: Final = 100  # with the usual backoff, at most 5 min and half of that on average: for four hours


async def keep(pool: Connection, bus: Bus, ringer: Ringer, settings: SchedulerSettings, stopping: asyncio.Event) -> None:
    """Nothing without `WAGGLE_ALERT_URL`. Raises SettingsError for an invalid secret."""
    if not settings.alert_url:
        return
    key = webhooks.read_secret(settings.alert_secret)

    async def step() -> bool:
        began = time.monotonic()
        found = [alert async for alert in reasons(pool, bus, ringer, settings)]
        for name in await alerts.raise_all(pool, found):
            log.warning("alert fires", alert=name)
        for name in await alerts.resolve(pool, OVER_SECONDS):
            log.info("alert is over", alert=name)
        for message in await alerts.claim(pool):
            await _tell(pool, settings.alert_url, key, message)
        await alerts.delete_old(pool, KEPT_SECONDS)
        await wait_for(stopping, min((time.monotonic() - began) / SHARE, LONGEST_SECONDS) - settings.alert_interval)
        return False

    await periodic(settings.alert_interval, step, OUTAGE, stopping)


async def reasons(pool: Connection, bus: Bus, ringer: Ringer, settings: SchedulerSettings) -> AsyncIterator[Alert]:
    """What somebody should hear of now."""
    async for alert in _queues(pool, settings.alert_wait):
        yield alert
    async for alert in _failures(pool, settings):
        yield alert
    for alert in _disks(settings.disks):
        yield alert
    if not ringer.works:
        yield Alert("nats", "nats", "page", "NATS is not connected, or stores nothing: tasks are accepted and wait", {})
        return
    async for alert in _breakers(bus):
        yield alert


async def _queues(pool: Connection, longest: float) -> AsyncIterator[Alert]:
    known = {row["name"]: row for row in await figures.queues(pool)}
    waits: dict[str, float] = {}
    for row in await figures.oldest(pool):
        waits[row["queue"]] = max(row["seconds"], waits.get(row["queue"], 0.0))
    for queue, seconds in waits.items():
        found = known.get(queue)
        if found is not None and found["paused"]:
            continue
        if seconds > UNSERVED_SECONDS and (found is None or not found["workers"]):
            summary = f"Tasks of the queue {queue} are due for {seconds:.0f} s, and no live worker serves it"
            yield Alert(f"tasks_unserved:{queue}", "tasks_unserved", "page", summary, {"queue": queue}, seconds)
        elif seconds > longest:
            yield Alert(f"queue_wait:{queue}", "queue_wait", "page", f"Tasks of the queue {queue} wait for {seconds:.0f} s", {"queue": queue}, seconds)


async def _failures(pool: Connection, settings: SchedulerSettings) -> AsyncIterator[Alert]:
    for queue in await catalogue.queues(pool):
        stats = await queues.stats(pool, queue, ERROR_SECONDS)
        if stats["tasks_enqueued"] >= FEWEST and stats["error_rate"] > settings.alert_error_rate:
            summary = f"{stats['error_rate']:.0%} of the tries in the queue {queue} fail"
            yield Alert(f"error_rate:{queue}", "error_rate", "page", summary, {"queue": queue}, stats["error_rate"])
    dead = await alerts.recent_dead(pool, DEAD_SECONDS, 100_000)
    if dead > settings.alert_dead_letters:
        yield Alert("dead_letters", "dead_letters", "ticket", f"{dead} tasks became dead letters in half an hour", {}, dead)
    age = await figures.oldest_transaction(pool)
    if age > TRANSACTION_SECONDS:
        yield Alert("old_transaction", "old_transaction", "ticket", f"A transaction in Postgres has been open for {age:.0f} s", {}, age)


def _disks(folders: Sequence[str]) -> Iterator[Alert]:
    for folder in folders:
        if Path(folder).is_dir() and (share := _free(folder)) < DISK_SHARE:
            yield Alert(f"disk:{folder}", "disk", "page", f"The disk of {folder} has {share:.0%} left", {"folder": folder}, share)


async def _breakers(bus: Bus) -> AsyncIterator[Alert]:
    try:
        now = (await breakers.snapshot(bus)).now
        async for entry in breakers.entries(bus):
            record = entry.record
            if record.state is not State.CLOSED and record.opened_at and now - record.opened_at > timedelta(seconds=BREAKER_SECONDS):
                summary = f"The circuit breaker {record.name} has not closed for {(now - record.opened_at).total_seconds():.0f} s"
                yield Alert(f"breaker:{record.name}", "breaker", "ticket", summary, {"breaker": record.name})
    except NATS_OUTAGE:
        return


def _free(folder: str) -> float:
    usage = shutil.disk_usage(folder)
    return usage.free / usage.total


async def _tell(pool: Connection, url: str, key: bytes, message: Message) -> None:
    """Send a message; one that is not taken becomes a task."""
    message_id, body = f"{message.id}.{'firing' if message.resolved_at is None else 'resolved'}", encoded(message)
    error = None
    try:
        await asyncio.to_thread(webhooks.post, url, key, message_id, body)
    except webhooks.NotTaken as refused:
        error = str(refused)
        log.warning("alert not delivered, will be retried", alert=message.key, error=error)
        payload = msgspec.json.encode({"message_id": message_id, "body": body.decode()}).decode()
        retry = NewTask(
            id=uuid7(),
            type=SEND,
            queue=DEFAULT_QUEUE,
            priority=Priority.CRITICAL,
            description=message.summary[:200],
            payload=payload,
            max_retries=SEND_RETRIES,
            timeout=30.0,
            submitter="scheduler",
            door="alerts",
        )
        await tasks.insert(pool, [retry], ring=False)
    else:
        log.info("alert delivered", alert=message.key, message=message_id)
    await alerts.sent(pool, message, error)


def encoded(message: Message) -> bytes:
    """The body: an event of Standard Webhooks, `alert.firing` or `alert.resolved`."""
    data = {
        "id": message.id,
        "name": message.name,
        "severity": message.severity,
        "summary": message.summary,
        "labels": msgspec.Raw(message.labels.encode()),
        "value": message.value,
        "since": message.since,
        **({} if message.resolved_at is None else {"resolved_at": message.resolved_at}),
    }
    kind = "alert.firing" if message.resolved_at is None else "alert.resolved"
    return msgspec.json.encode({"type": kind, "timestamp": datetime.now(UTC), "data": data})
