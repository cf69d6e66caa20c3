"""The API dies repeatedly: within a group commit, between the commit and its answers, and between the answers and the doorbells."""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx2

from support.keys import ADMIN_KEY
from support.oracle import History, all_at_rest, check
from support.scale import dice, figures, sized
from support.system import Client, Services, client_for
from waggle_embedded.placement import free_port

Pool = asyncpg.Pool

DEATHS = sized(9, 500)
CLIENTS = 8
POINTS = ("api.inserted", "api.committed", "api.answered")
DIED = 137


@dataclass
class Clients:
    """The submissions of the clients: `kept` have a key and are repeated until answered; `thrown` have none and got no answer."""

    history: History = field(default_factory=History)
    kept: dict[str, list[str]] = field(default_factory=dict)
    thrown: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    async def submit(self, client: Client, chance: random.Random) -> None:
        while not self.stopped:
            name, size, has_key = uuid4().hex, chance.choice((1, 1, 5)), chance.random() < 0.7
            body = {"tasks": [{"type": "test.work", "description": name}] * size}
            while True:
                ids = await self._post(client, body, {"Idempotency-Key": name} if has_key else {})
                if ids:
                    self.history.accepted += ids
                    self.kept[name] = ids
                    break
                if ids is None and not has_key:
                    self.thrown[name] = size
                    break
                await asyncio.sleep(0.02)

    async def _post(self, client: Client, body: object, headers: dict[str, str]) -> list[str] | None:
        """The ids; [] when it was refused for now; None when the outcome is unknown."""
        try:
            answer = await client.post("/api/tasks/batch", json=body, headers=headers)
        except httpx2.ConnectError:
            return []
        except httpx2.TransportError:
            return None
        if answer.status_code == 503:
            return []
        assert answer.status_code in (200, 201), answer.text
        return [item["id"] for item in answer.json()["items"]]


async def test_what_was_accepted_runs_and_a_client_that_repeats_its_key_has_one_task(start: Services, pool: Pool, effects: Path) -> None:
    chance = dice()
    scheduler = await start("scheduler")
    await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", concurrency=50)
    clients = Clients()
    port = free_port()
    async with client_for({"api_url": f"http://127.0.0.1:{port}", "api_key": ADMIN_KEY}) as client:
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(clients.submit(client, chance))
            for number in range(DEATHS):
                failpoint = f"{POINTS[number % len(POINTS)]}:{chance.randint(1, 4)}"
                assert await start.launch("api", api_port=port, failpoint=failpoint).ended(20.0) == DIED
            start.launch("api", api_port=port)
            clients.stopped = True
        await all_at_rest(pool, 60)
    counts = await check(pool, clients.history, effects, duplicates_at_most=0)
    await check_groups(pool, clients)
    lost = scheduler.logged("lost doorbells rung again")
    assert lost, "no doorbell was lost, so this test proves nothing"
    figures(
        "API dies around its commits",
        deaths=DEATHS,
        tasks=counts["tasks"],
        without_an_answer=len(clients.thrown),
        doorbells_lost=sum(line["count"] for line in lost),
        start=await start_times(pool),
    )


async def check_groups(pool: Pool, clients: Clients) -> None:
    """Check that each submission is in the database once and complete; one without an answer is complete or absent."""
    found = {row["description"]: row["n"] for row in await pool.fetch("SELECT description, count(*) AS n FROM waggle.tasks GROUP BY 1")}
    wrong = {name: (found.get(name), len(ids)) for name, ids in clients.kept.items() if found.get(name) != len(ids)}
    assert not wrong, f"{len(wrong)} answered submissions are not there exactly once: {wrong}"
    halves = {name: (found[name], size) for name, size in clients.thrown.items() if name in found and found[name] != size}
    assert not halves, f"{len(halves)} submissions without an answer are incomplete: {halves}"
    assert found.keys() <= clients.kept.keys() | clients.thrown.keys()


async def start_times(pool: Pool) -> str:
    row = await pool.fetchrow(
        """SELECT percentile_cont(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM a.started_at - t.created)) AS p
           FROM waggle.tasks t JOIN waggle.task_attempts a ON a.task_id = t.id AND a.attempt = 1"""
    )
    assert row
    p50, p99, most = row["p"]
    return f"p50 {p50 * 1000:.0f} ms, p99 {p99:.1f} s, at most {most:.1f} s"
