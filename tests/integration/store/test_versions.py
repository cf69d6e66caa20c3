"""The versions of a task type: which of them are accepted follows from who lives, and which comes first from who was announced last."""

import asyncio

import asyncpg

from support.given import gone, serves_version
from waggle.store import catalogue, leases
from waggle.store.catalogue import TaskType, TypeVersion, version_of
from waggle.store.leases import LeaseRow

Pool = asyncpg.Pool
OLD, NEW = '{"properties":{"a":{}}}', '{"properties":{"a":{},"é":{}}}'


async def announced(pool: Pool, schema: str, *, cleanup: bool = False, **other: object) -> None:
    task_type = TaskType("skew.job", "default", 3, 10.0, True, schema)._replace(**other)
    await catalogue.announce(pool, [task_type], ["default"], {"skew.job"} if cleanup else ())


async def serving(pool: Pool, worker_id: str, schema: str, queue: str = "default") -> None:
    await serves_version(pool, worker_id, schema, task_type="skew.job", queue=queue)


async def accepted(pool: Pool) -> list[str]:
    """The schemas of the versions that new tasks may have, the newest first."""
    return [version.schema for version in await catalogue.versions(pool) if version.accepted]


async def known(pool: Pool) -> list[TypeVersion]:
    return await catalogue.versions(pool)


async def test_both_versions_are_accepted_while_both_are_served_the_newest_first(pool: Pool) -> None:
    await serving(pool, "w1", OLD)
    await serving(pool, "w2", NEW)
    assert await accepted(pool) == [NEW, OLD]
    await serving(pool, "w3", OLD)  # an old worker that restarts makes its version no newer
    assert await accepted(pool) == [NEW, OLD]
    assert [(version.version, version.workers) for version in await known(pool)] == [(version_of(NEW), 1), (version_of(OLD), 2)]


async def test_a_version_that_nobody_serves_is_accepted_while_another_is_served_by_nobody_later(pool: Pool) -> None:
    await serving(pool, "w1", OLD)
    await serving(pool, "w2", NEW)
    await leases.leave(pool, "w2")
    assert await accepted(pool) == [OLD]
    await leases.leave(pool, "w1")
    assert await accepted(pool) == [OLD], "it was served last, although the other one was announced last"
    await serving(pool, "w3", NEW)
    await gone(pool, "w3", 60)
    assert await accepted(pool) == [NEW], "it was announced since"


async def test_a_worker_that_drains_or_is_gone_serves_no_version(pool: Pool) -> None:
    await serving(pool, "w1", OLD)
    await serving(pool, "w2", NEW)
    await leases.renew(pool, "w1", running=1, draining=True)
    assert await accepted(pool) == [NEW]
    assert [version.version for version in await catalogue.served(pool, ["skew.job"])] == [version_of(NEW)]
    await serving(pool, "w3", OLD)
    await gone(pool, "w2", 60)
    assert await accepted(pool) == [OLD]


async def test_the_defaults_are_those_of_the_newest_version_that_is_served(pool: Pool) -> None:
    await serving(pool, "w1", OLD)
    await announced(pool, NEW, queue="other", max_retries=9, timeout=99.0, dead_letter=False)
    assert [version[2:6] for version in await known(pool)] == [("default", 3, 10.0, True)], "nobody serves the other one yet"
    await announced(pool, OLD, timeout=20.0)
    assert [version.timeout for version in await known(pool)] == [20.0], "a default may change without the payload"


async def test_a_worker_of_an_earlier_release_serves_what_was_announced_last(pool: Pool) -> None:
    await announced(pool, OLD)
    await leases.register(pool, LeaseRow(id="w1", host="h", pid=1, version="0", seconds=15.0, concurrency=1, queues=["default"], types=["skew.job"]))
    assert [(version.version, version.workers) for version in await known(pool)] == [(version_of(OLD), 1)]


async def test_the_queues_of_those_who_serve_a_version_are_known(pool: Pool) -> None:
    await serving(pool, "w1", OLD, "a")
    await serving(pool, "w2", OLD, "b")
    (served,) = await catalogue.served(pool, ["skew.job", "other"])
    assert (served.version, sorted(served.queues), served.schema) == (version_of(OLD), ["a", "b"], OLD)


async def test_hooks_stay_due_while_any_live_version_has_one(pool: Pool) -> None:
    await announced(pool, NEW, cleanup=True)
    await leases.register(
        pool, LeaseRow(id="w1", host="h", pid=1, version="0", seconds=15.0, concurrency=1, queues=["default"], types=["skew.job"], versions=[version_of(NEW)])
    )
    await announced(pool, OLD)
    assert await pool.fetchval("SELECT cleanup FROM waggle.task_types") is True
    await leases.leave(pool, "w1")
    await announced(pool, OLD)
    assert await pool.fetchval("SELECT cleanup FROM waggle.task_types") is False


async def test_a_schema_that_differs_at_each_start_does_not_fill_the_table(pool: Pool) -> None:
    for number in range(10):
        await announced(pool, f'{{"default":{number}}}')
    await serving(pool, "w1", OLD)
    await catalogue.delete_old_versions(pool, 3)
    kept = [row["schema"] for row in await pool.fetch("SELECT schema FROM waggle.task_versions ORDER BY served")]
    assert kept == ['{"default":7}', '{"default":8}', '{"default":9}', OLD]


async def test_workers_that_end_together_and_workers_that_begin_do_not_wait_for_each_other_in_a_circle(pool: Pool) -> None:
    types = [TaskType(name, "default", 3, 10.0, True, "{}") for name in ("a", "b")]

    async def begin() -> None:
        for _ in range(100):
            await catalogue.announce(pool, types, ["default"])

    async def end(token: str) -> None:
        for number in range(100):
            for name in ("b", "a"):  # in the other order
                worker = f"h-{token}-{number}{name}"
                await leases.register(
                    pool,
                    LeaseRow(
                        id=worker, host="h", pid=1, version="0", seconds=15.0, concurrency=1, queues=["default"], types=[name], versions=[version_of("{}")]
                    ),
                )
            assert len(await leases.end(pool, token)) == 2

    await asyncio.gather(*[begin() for _ in range(3)], end("first"), end("second"))
