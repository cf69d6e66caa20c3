"""Dead letters with the same cause have one fingerprint, whatever their messages name; rows that belong to dead letters are deleted with them."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.given_dead import as_json, dead, error_of
from waggle.store import tasks
from waggle_dlq import cleanup

Pool = asyncpg.Pool

MESSAGES = {
    "numbers": ("order 17 took 3.5 s", "order # took # s"),
    "a uuid": ("task 0192f3a4-1111-7abc-9def-0123456789AB is gone", "task # is gone"),
    "hexadecimal digits": ("at 0x7ffee, object deadbeef01", "at #, object #"),
    "words of hexadecimal letters": ("a defaced facade", "a defaced facade"),
    "quoted texts": ("no 'file' in \"a folder\"", "no '…' in '…'"),
    "an apostrophe": ("it can't find 'x', and won't", "it can't find '…', and won't"),
    "an open quote": ('unterminated "text', "unterminated '…'"),
    "digits in a word": ("host db12 and abc1", "host db# and abc#"),
    "an address": ("10.0.0.3:5432 refused", "#:# refused"),
    "several lines": ("first\nsecond 2", "first\nsecond #"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("message", "normalised"), MESSAGES.values(), ids=list(MESSAGES))
async def test_what_differs_from_case_to_case_is_replaced(pool: Pool, message: str, normalised: str) -> None:
    assert await pool.fetchval("SELECT waggle.normalised($1)", message) == normalised


async def test_a_message_is_bounded_and_so_is_its_cost(pool: Pool) -> None:
    assert len(await pool.fetchval("SELECT waggle.normalised($1)", "word " * 100_000)) == 200


async def test_a_fingerprint_depends_on_type_code_class_and_message(pool: Pool) -> None:
    usual: dict[str, Any] = {"message": "order 1", "code": "task_execution_failed", "exception": "KeyError"}

    async def fingerprint(type: str = "a.b", **changes: str) -> str:  # noqa: A002  # the field's name
        return str(await pool.fetchval("SELECT waggle.fingerprint($1, $2)", type, as_json(error_of(**{**usual, **changes}))))

    same = await fingerprint()
    assert await fingerprint(message="order 2") == same
    others = {
        await fingerprint("a.c"),
        await fingerprint(code="task_timeout"),
        await fingerprint(exception="IndexError"),
        await fingerprint(message="another 1"),
        await pool.fetchval("SELECT waggle.fingerprint('a.b', NULL)"),
    }
    assert len(others | {same}) == 6


async def test_it_is_written_when_a_task_dies_and_only_then(pool: Pool) -> None:
    (task_id,) = await dead(pool)
    row = await given.row(pool, task_id)
    assert row["fingerprint"] == await pool.fetchval("SELECT waggle.fingerprint($1, $2)", row["type"], row["error"])
    await given.alive(pool)
    running = await given.running(pool, 2)
    await tasks.cancel(pool, running[0].id)
    assert await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE fingerprint IS NOT NULL") == 1


async def test_retries_of_tasks_that_are_gone_are_forgotten_and_old_redrives_too(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "CLEANUP_BATCH", 7)
    kept = await given.waiting(pool, 10)
    for task_id in [*kept, *[UUID(int=number) for number in range(1, 31)]]:
        for later in ("1 s", "2 s"):
            await pool.execute(
                f"INSERT INTO waggle.dead_letter_retries (task_id, attempt, how, retried_at) VALUES ($1, 1, 'manual', now() + interval '{later}')", task_id
            )
    for state, age in (("completed", "2 hours"), ("stopped", "1 minute"), ("running", "2 hours")):
        await pool.execute(
            f"""INSERT INTO waggle.redrives (id, state, filter, rate, submitted_by, created, ended_at)
            VALUES (gen_random_uuid(), $1, '{{}}', 1, 'x', now() - interval '{age}', CASE WHEN $1 <> 'running' THEN now() - interval '{age}' END)""",
            state,
        )
    await cleanup.put_in_order(pool, 3600.0)
    assert {row[0] for row in await pool.fetch("SELECT task_id FROM waggle.dead_letter_retries")} == set(kept)
    assert {row[0] for row in await pool.fetch("SELECT state FROM waggle.redrives")} == {"stopped", "running"}
