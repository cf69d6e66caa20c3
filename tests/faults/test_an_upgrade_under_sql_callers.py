"""An upgrade while applications submit by SQL: migrations, a later version of the functions, and new services. No caller sees an error, and no task is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from support.facts import until
from support.loops import again_and_again
from support.pgbouncer import pgbouncer
from support.scale import dice, figures, sized
from support.schemas import go_back
from support.system import Services
from waggle.store.catalogue import TaskType, announce
from waggle.store.migrate import migrate

Pool = asyncpg.Pool

CALLERS = 6  # half of them through a pooler in transaction mode
ROUNDS = sized(5, 50)
WITH_A_NOTE = "traceparent text DEFAULT NULL::text, note text DEFAULT NULL::text)"
ENQUEUE = "SELECT waggle.enqueue('demo.echo', $1, priority => 1)"


class Application:
    """Submits a task in each transaction; some of them last, and some are rolled back."""

    def __init__(self) -> None:
        self.submitted: set[str] = set()
        self.rolled_back = 0

    @asynccontextmanager
    async def going(self, url: str, **options: int) -> AsyncIterator[None]:
        random, connection = dice(), await asyncpg.connect(url, **options)

        async def one() -> None:
            transaction = connection.transaction()
            await transaction.start()
            task_id = await connection.fetchval(ENQUEUE, '{"by": "sql"}')
            await asyncio.sleep(random.choice((0.0, 0.0, 0.02)))
            if random.random() < 0.1:
                await transaction.rollback()
                self.rolled_back += 1
                return
            await transaction.commit()
            self.submitted.add(str(task_id))

        try:
            async with again_and_again(one, 0.005):
                yield
        finally:
            await connection.close()

    async def goes_on(self) -> None:
        """Wait until it has submitted some more."""
        before = len(self.submitted)
        await until(lambda: len(self.submitted) >= before + 20)


async def test_callers_notice_nothing(start: Services, pool: Pool, database: str, folder: Path) -> None:
    await announce(pool, [TaskType("demo.echo", "default", 3, 10.0, True, "{}")], ["default"])
    await pool.execute("DROP ROLE IF EXISTS upgrade_shop; CREATE ROLE upgrade_shop LOGIN PASSWORD 'shop'")
    await pool.execute("SELECT waggle.allow_enqueue('upgrade_shop')")
    await go_back(database, "0019")  # the first with these functions
    parts, application = urlsplit(database), Application()
    role = urlunsplit(parts._replace(netloc=f"upgrade_shop:shop@{parts.hostname}:{parts.port}"))
    with pgbouncer(role, folder) as pooled:
        async with AsyncExitStack() as stack:
            for number in range(CALLERS):
                await stack.enter_async_context(application.going(pooled, statement_cache_size=0) if number % 2 else application.going(role))
            await application.goes_on()
            await migrate(database)
            await application.goes_on()
            names = ("api", "scheduler", "worker")
            services = [await start(name) for name in names]
            for _ in range(ROUNDS):
                await later_version(pool)
                await application.goes_on()
            assert await pool.fetchval("SELECT waggle.enqueue('demo.echo', note => 'of later') IS NOT NULL")
            for place, name in enumerate(names):
                another = await start(name)
                await services[place].stop()
                services[place] = another
                await application.goes_on()

    async def completed() -> bool:
        found = await pool.fetch("SELECT id::text, status FROM waggle.tasks WHERE payload ->> 'by' = 'sql'")
        assert {row["id"] for row in found} == application.submitted
        return all(row["status"] == "completed" for row in found)

    await until(completed, 60.0)
    assert application.rolled_back
    figures("an upgrade under SQL callers", submitted=len(application.submitted), rolled_back=application.rolled_back, versions_of_the_functions=ROUNDS)


async def later_version(pool: Pool) -> None:
    """What a migration does that adds an argument: a function with more arguments beside the old one would make calls ambiguous."""
    async with pool.acquire() as connection, connection.transaction():
        found = await connection.fetchrow("SELECT oid::regprocedure::text AS name, pg_get_functiondef(oid) AS text FROM pg_proc WHERE proname = 'enqueue'")
        assert found is not None
        text = found["text"] if "note text" in found["text"] else found["text"].replace("traceparent text DEFAULT NULL::text)", WITH_A_NOTE)
        assert "note text" in text
        await connection.execute(f"DROP FUNCTION {found['name']}")
        await connection.execute(text)
        await connection.execute("SELECT waggle.allow_enqueue('upgrade_shop')")
