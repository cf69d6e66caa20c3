"""Names that users choose become parts of NATS subjects: whatever is tried, doorbells reach lanes and nothing else is published."""

import random
import re
from collections.abc import Iterator

from nats.aio.msg import Msg

from support.facts import until
from support.processes import Process
from support.system import Client, ok
from waggle.bus import connection
from waggle.store import catalogue
from waggle.store import postgres as store
from waggle.store.catalogue import TaskType
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN

COUNT = 10_000
SEED = 11
PARTS = [
    *("a", "z9", "mail", "default", "waggle", "work", "control", "all", "rpc", "dlq", "retry", "low", "medium", "critical"),
    *(".", "..", "*", ">", "$", "$JS", "$JS.API", "STREAM.PURGE", "WAGGLE_WORK", "$SYS", "_INBOX", "_", "-", "--", "/", "\\", "%2e", "%0d%0a"),
    *(" ", "\t", "\r\n", "\n", "\x00", "\x7f", "\u2028", "é", "\uff41", "\uff0e", "\uff0a", "A", "Z", "'", '"', "{}", ";", ""),
]


def names() -> Iterator[str]:
    choose = random.Random(SEED)  # noqa: S311  # repeatable, not secret
    for _ in range(COUNT):
        yield "".join(choose.choices(PARTS, k=choose.randint(1, 6)))


async def test_no_name_reaches_a_foreign_subject(process: Process, api: Client) -> None:
    """The batches of refused names come first: if one of these was accepted, its doorbell would be heard."""
    fits = {
        "queue": [name for name in names() if re.fullmatch(QUEUE_PATTERN, name) and len(name) <= QUEUE_LENGTH],
        "type": [name for name in names() if re.fullmatch(TYPE_PATTERN, name) and len(name) <= TYPE_LENGTH],
    }
    heard: set[str] = set()

    async def hear(message: Msg) -> None:
        heard.add(message.subject)

    async with connection.connection(process.settings, "test") as bus:
        await bus.subscribe(">", hear)
        await bus.renewed(5.0)
        for field, good in fits.items():
            assert 100 < len(set(good)) < COUNT / 10
            bad = sorted({*names()} - {*good})
            for start in range(0, len(bad), 500):
                tasks = [{"type": "test.work", "queue": "default", field: name} for name in bad[start : start + 500]]
                errors = ok(await api.post("/api/tasks/batch", json={"tasks": tasks}), 422)["errors"]
                assert {error["field"] for error in errors} == {f"tasks[{number}].{field}" for number in range(len(tasks))}
        queues = sorted({*fits["queue"]})
        async with store.pool(process.settings, "test", 1) as pool:
            await catalogue.announce(pool, [TaskType("any.thing", "default", 3, 300.0, True, "{}")], queues)  # as a worker that serves them does
        for start in range(0, len(queues), 500):
            ok(await api.post("/api/tasks/batch", json={"tasks": [{"type": "test.work", "queue": queue} for queue in queues[start : start + 500]]}), 201)
        lanes = {f"waggle.work.{queue}.medium" for queue in queues}
        await until(lambda: lanes <= heard, 10.0, "their doorbells are heard")
    strangers = {subject for subject in heard - lanes if not subject.startswith(("_INBOX.waggle-", "waggle.primary", "$JS.API.", "waggle.work._probe"))}
    assert strangers == set()
