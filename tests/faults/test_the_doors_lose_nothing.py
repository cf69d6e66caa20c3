"""What was published becomes a task or a rejection, once, however often APIs die; who catches up misses no end; no report of an end is lost."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime

import asyncpg
import msgspec
import nats

from support.called import called
from support.facts import until
from support.scale import dice, figures, sized
from support.system import Client, Services, System, client_of, ok

Pool = asyncpg.Pool

MESSAGES = sized(1_500, 20_000)
DEATHS = 5
POINTS = ("api.inserted", "api.committed", "api.ingested", "api.answered")
DIED = 137
TRANSITIONS = sized(800, 5_000)
REPORTS = sized(150, 1_000)
SECRET = "whsec_" + "c" * 40


async def test_apis_die_while_they_ingest(start: Services, pool: Pool) -> None:
    random = dice()
    await start("scheduler")
    await start("worker")
    await pool.execute("INSERT INTO waggle.publishers (name, password, created_by) VALUES ('shop', '', 'test')")
    client = await nats.connect(start.settings.nats_url)
    shares = asyncio.Semaphore(1)  # each API gets its share of the messages
    share = MESSAGES // (DEATHS + 1)
    bad = {number for number in range(MESSAGES) if number % 10 == 3}

    async def publish() -> None:
        for number in range(MESSAGES):
            headers = {"Nats-Msg-Id": f"message {number}"} if number % 2 else None  # half of them have no key
            body = b"{" + b"%d" % number if number in bad else json.dumps({"payload": {"n": number}}).encode()
            ack = json.loads((await client.request("waggle.submit.shop.demo.echo", body, timeout=10, headers=headers)).data)
            assert "seq" in ack, ack
            if number % share == share - 1 and number < share * DEATHS:
                await shares.acquire()

    publishing = asyncio.create_task(publish())
    for _ in range(DEATHS):
        api = start.launch("api", failpoint=f"{random.choice(POINTS)}:1")
        assert await asyncio.to_thread(api.process.wait, 60) == DIED
        api.ended_by_test = True
        shares.release()
    last = await start("api")
    await publishing

    async def is_empty() -> bool:
        return not (await client.jetstream().stream_info("WAGGLE_SUBMIT")).state.messages

    await until(is_empty, 60.0)
    await client.close()
    made = Counter(row["n"] for row in await pool.fetch("SELECT (payload ->> 'n')::int AS n FROM waggle.tasks"))
    assert set(made) == set(range(MESSAGES)) - bad
    assert set(made.values()) == {1}
    async with client_of(last) as api_client:
        rejected: Counter[int] = Counter()
        page = ok(await api_client.get("/api/rejected", params={"limit": 1000}))
        while True:
            for one in page["items"]:
                rejected[int(ok(await api_client.get(f"/api/rejected/{one['id']}"))["body"][1:])] += 1
            if "next_cursor" not in page:
                break
            page = ok(await api_client.get("/api/rejected", params={"limit": 1000, "cursor": page["next_cursor"]}))
    assert set(rejected) == bad
    assert set(rejected.values()) == {1}
    figures("the API dies while it ingests", messages=MESSAGES, deaths=DEATHS, rejected=len(rejected))


async def test_a_consumer_that_restarts_again_and_again_sees_every_end(client: Client) -> None:
    seen: dict[str, str] = {}
    began = datetime.now(UTC).isoformat()

    async def consume(cursor: str | None, pages: int) -> str:
        """A consumer that dies after some pages; it has kept its cursor."""
        for _ in range(pages):
            where = {"updated_after": began} if cursor is None else {"cursor": cursor}
            page = ok(await client.get("/api/tasks", params={**where, "limit": 100}))
            seen.update({task["id"]: task["status"] for task in page["items"]})
            cursor = page["next_cursor"]
            if page.get("caught_up"):
                await asyncio.sleep(0.2)
        assert cursor is not None
        return cursor

    async def submit() -> list[str]:
        made = []
        for number in range(0, TRANSITIONS, 100):
            kinds = [{"type": "demo.echo"}, {"type": "demo.fail", "payload": {"message": "x", "retryable": False}}]
            made += [task["id"] for task in await client.submit_many([kinds[place % 10 == 0] for place in range(number, number + 100)])]
            await asyncio.sleep(0.05)
        return made

    submitting, cursor = asyncio.create_task(submit()), None
    while not submitting.done():
        cursor = await consume(cursor, 3)
    made = await submitting

    async def all_seen() -> bool:
        nonlocal cursor
        cursor = await consume(cursor, 5)
        return seen.keys() >= set(made)

    await until(all_seen, 60.0)
    assert Counter(seen[task_id] for task_id in made) == {"completed": TRANSITIONS * 9 // 10, "dead_letter": TRANSITIONS // 10}


async def test_workers_die_and_every_end_is_reported(start: Services) -> None:
    start.settings = msgspec.structs.replace(start.settings, callback_secrets=(SECRET,), http_allow=("127.0.0.1",), lease=3.0)
    system = await System.start(start)
    async with called() as target, client_of(system.api) as client:
        tasks = [{"type": "demo.sleep", "payload": {"seconds": 0.05}, "callback_url": f"{target.url}/hook"}] * REPORTS
        made = {task["id"] for part in range(0, REPORTS, 500) for task in await client.submit_many(tasks[part : part + 500])}
        worker = system.worker
        for share in (0.2, 0.5):
            await until(lambda share=share: len(target.calls) >= REPORTS * share, 60.0)  # type: ignore[misc]
            worker.kill()
            worker = await start("worker")

        def reported() -> set[str]:
            return {json.loads(body)["data"]["id"] for body in target.bodies}

        await until(lambda: reported() == made, 90.0)
        figures("workers die and every end is reported", reports=REPORTS, messages=len(target.bodies))
