"""The oracle of the fault tests: what was accepted, what the handlers did, and what must hold between the two after the fault."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2

from support.facts import until
from support.fleet import FleetSettings
from support.system import Client
from waggle.audit.rounds import audit

REST_SECONDS = 40.0  # for a lease to expire, a doorbell with a lost ack to come again, and the loops
FINAL_SQL = "status IN ('completed', 'failed', 'cancelled', 'dead_letter')"


@dataclass
class History:
    """What a test submitted: ids from 2xx answers, and keys that never got an answer."""

    accepted: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)


async def submit_load(client: Client, history: History, count: int, *, batch: int = 50, pause: float = 0.02, **task: Any) -> None:
    """Submit `count` tasks in batches, each with its own idempotency key; repeat a batch without an answer under the same key."""
    for _batch in range(0, count, batch):
        key = uuid4().hex
        body = {"tasks": [task] * batch}
        for _ in range(100):
            try:
                answer = await client.post("/api/tasks/batch", json=body, headers={"Idempotency-Key": key})
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code in (200, 201):
                history.accepted += [item["id"] for item in answer.json()["items"]]
                break
            history.refused[answer.status_code] += 1
            assert answer.status_code == 503, answer.text
            assert "retry-after" in answer.headers
            await asyncio.sleep(random.uniform(0.05, 0.2))  # noqa: S311  # jitter
        else:
            history.unknown.append(key)
        await asyncio.sleep(pause)


async def all_at_rest(pool: "asyncpg.Pool[asyncpg.Record]", seconds: float) -> None:
    """Wait until no task is pending or running."""

    async def rested() -> bool:
        return not await pool.fetchval(f"SELECT EXISTS (SELECT FROM waggle.tasks WHERE NOT {FINAL_SQL})")

    await until(rested, seconds, "every task comes to rest")


async def check(pool: "asyncpg.Pool[asyncpg.Record]", history: History, effects: Path, *, duplicates_at_most: int) -> Counter[str]:
    """Check that every accepted task completed, with an effect and its attempts in order, and that none is lost. Returns counts to report."""
    rows = await pool.fetch("SELECT id, status, attempt FROM waggle.tasks")
    status = {str(row["id"]): row["status"] for row in rows}
    assert not history.unknown, f"{len(history.unknown)} batches never got an answer"
    missing = [task for task in history.accepted if task not in status]
    assert not missing, f"{len(missing)} accepted tasks are not in the database, such as {missing[:3]}"
    assert len(set(history.accepted)) == len(history.accepted), "two submissions were answered with one task"
    assert Counter(status[task] for task in history.accepted) == {"completed": len(history.accepted)}

    ran: Counter[str] = Counter()
    for line in effects.read_text().splitlines():
        what, task, _attempt, _nonce = line.split()
        if what == "ended":
            ran[task] += 1
    without = [task for task in history.accepted if not ran[task]]
    assert not without, f"{len(without)} completed tasks had no effect"
    duplicates = sum(count - 1 for count in ran.values())
    assert duplicates <= duplicates_at_most, f"{duplicates} effects happened twice; the fault explains {duplicates_at_most}"

    bad_order = await pool.fetch(
        """SELECT t.id FROM waggle.tasks t JOIN LATERAL (SELECT count(*) AS n, max(attempt) AS last, count(*) FILTER (WHERE outcome = 'completed') AS done
           FROM waggle.task_attempts a WHERE a.task_id = t.id) a ON true
        WHERE t.status = 'completed' AND (a.n <> t.attempt OR a.last <> t.attempt OR a.done <> 1)"""
    )
    assert not bad_order, f"{len(bad_order)} tasks have attempts that do not fit them"
    return Counter(tasks=len(history.accepted), duplicates=duplicates, extra_attempts=sum(row["attempt"] - 1 for row in rows))


async def audited(settings: FleetSettings, seconds: float = REST_SECONDS) -> None:
    """Run `waggle audit` until it finds nothing: each task in exactly one place, with its doorbell, its worker and its attempts in order."""
    seen = (await audit(settings, wait=seconds)).seen
    left = {name: (found.count, found.examples) for name, found in seen.found.items() if found.count}
    assert not left, f"not at rest after {seconds:g} s: {left}"
