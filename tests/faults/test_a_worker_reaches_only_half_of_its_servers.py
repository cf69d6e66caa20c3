"""One worker cannot reach Postgres, another one cannot reach NATS: other workers do their work, and both recover without a restart."""

from collections import Counter
from pathlib import Path

import asyncpg

from support.facts import until
from support.load import busy
from support.metrics import counted
from support.oracle import History, all_at_rest, check
from support.processes import Process
from support.proxy import proxy
from support.scale import figures, sized
from support.servers import NatsServer
from support.system import Services, client_of

Pool = asyncpg.Pool
SLOTS = 10
LEASE = 5.0  # of a loop that stands still for a fifth of it, as on a busy machine, the losses stay charged
CUTS = sized(1, 5)

LEASED = "SELECT id FROM waggle.workers WHERE pid = $1 ORDER BY started_at DESC LIMIT 1"
RUN_UNDER = "SELECT id FROM waggle.tasks WHERE worker_id = $1 AND status = 'running'"


class Worker:
    """A worker's row."""

    def __init__(self, pool: Pool, process: Process) -> None:
        self.pool, self.process = pool, process

    async def lease(self) -> str:
        return str(await self.pool.fetchval(LEASED, self.process.pid))

    async def runs(self) -> set[object]:
        """The tasks that run here now."""
        return {row["id"] for row in await self.pool.fetch(RUN_UNDER, await self.lease())}

    async def goes_on(self, what: str) -> None:
        """Wait until it completes a task that it starts from now on, under any lease."""
        now = await self.pool.fetchval("SELECT now()")
        done = "SELECT EXISTS (SELECT FROM waggle.task_attempts WHERE worker_id = $1 AND started_at > $2 AND outcome = 'completed')"

        async def does() -> bool:
            return bool(await self.pool.fetchval(done, await self.lease(), now))

        await until(does, 60.0, what)


async def test_others_do_its_work_and_it_comes_back(start: Services, pool: Pool, nats: NatsServer, database: str, effects: Path) -> None:
    api = await start("api")
    await start("scheduler")
    history, postgres_port = History(), int(database.rpartition(":")[2].partition("/")[0])
    async with proxy(postgres_port) as to_postgres, proxy(nats.port) as to_nats, client_of(api) as client:

        async def worker(**changes: object) -> Worker:
            environ = {"EFFECTS": str(effects)}
            return Worker(pool, await start("worker", environ=environ, app="support.handlers:app", concurrency=SLOTS, lease=LEASE, **changes))

        healthy = await worker()
        deaf = await worker(postgres_url=to_postgres.url(database))
        lonely = await worker(nats_url=to_nats.url(nats.url))
        async with busy(client, pool, history, 40, type="test.work", payload={"seconds": 0.5}, max_retries=CUTS):
            for _ in range(CUTS):
                deafs, lonelys = await deaf.lease(), await lonely.lease()
                runs = await until(lambda: both_busy(lonely, deaf), 60.0, "both are busy at the same time")
                to_postgres.cut()
                to_nats.cut()
                await until(lambda deafs=deafs: pool.fetchval(f"SELECT NOT EXISTS ({RUN_UNDER})", deafs), 30.0, "its tasks are reclaimed")  # type: ignore[misc]
                await healthy.goes_on("others go on")
                await lonely_settled(pool, lonelys, runs)
                assert await lonely.lease() == lonelys, "without NATS a worker keeps its lease"
                to_postgres.heal()
                to_nats.heal()
                await deaf.goes_on("it works again when it reaches Postgres")
                assert await deaf.lease() != deafs, "an expired lease is never renewed"
                await lonely.goes_on("it works again when it reaches NATS")
        await all_at_rest(pool, 60)
        dropped = Counter(await counted(deaf.process, "waggle_outcomes_dropped_total"))
        assert not await counted(lonely.process, "waggle_outcomes_dropped_total")
    gone = await pool.fetchval("SELECT count(*) FROM waggle.task_attempts WHERE outcome = 'given_back'")
    assert 0 < sum(dropped.values()) <= gone <= CUTS * SLOTS
    assert await pool.fetchval("SELECT count(*) = 0 FROM waggle.task_attempts WHERE outcome IN ('failed', 'lost')"), "a cut-off charges nothing"
    counts = await check(pool, history, effects, duplicates_at_most=CUTS * SLOTS)
    figures("workers that reach half of their servers", cuts=CUTS, **counts, attempts_given_back=gone, dropped=dict(dropped))


async def both_busy(one: Worker, other: Worker) -> set[object] | None:
    """The tasks of `one`, once the tasks of each fill more than half of its slots."""
    found = await one.runs()
    return found if min(len(found), len(await other.runs())) > SLOTS // 2 else None


async def lonely_settled(pool: Pool, lease: str, runs: set[object]) -> None:
    """Tasks that ran when NATS went away end in the same attempt on this worker."""
    done = "SELECT count(*) FROM waggle.task_attempts WHERE task_id = ANY ($1) AND worker_id = $2 AND outcome = 'completed'"
    await until(lambda: pool.fetchval(f"SELECT ({done}) = $3", list(runs), lease, len(runs)), 20.0, "running tasks complete without NATS")
