"""Pages of large results: bounded in bytes, and still without gaps."""

import asyncpg

from support import given
from support.processes import Process
from support.system import Services, client_of, ok
from waggle.store import tasks
from waggle.task import Done, Tries, decide

MEBIBYTE = 1 << 20


async def test_a_page_of_large_results_ends_early_and_the_next_one_goes_on(start: Services, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    await given.alive(pool)
    claimed = await given.running(pool, 10)
    result = '"' + "x" * (MEBIBYTE - 2) + '"'
    for task in claimed:
        assert await tasks.settle(pool, [(given.fence(task), decide(Done(result), Tries(0, 0)))])
    api: Process = await start("api")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    async with client_of(api) as client:
        while True:
            answer = await client.get("/api/tasks", params={"limit": "10", **cursor})
            assert len(answer.content) < 5 * MEBIBYTE
            page = ok(answer)
            assert page["items"]
            seen += [item["id"] for item in page["items"]]
            if "next_cursor" not in page:
                break
            cursor = {"cursor": page["next_cursor"]}
    assert seen == sorted((str(task.id) for task in claimed), reverse=True)
