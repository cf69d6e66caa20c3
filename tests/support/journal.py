"""A journal of every status change, written by a trigger, so that no service can bypass it."""

from collections import Counter

import asyncpg

from waggle.task import FINAL, NEXT, Status

Pool = asyncpg.Pool

KEEP = """
CREATE TABLE journal (number bigint GENERATED ALWAYS AS IDENTITY, task_id uuid, was text, became text, attempt_was int, attempt int);
CREATE FUNCTION journal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO journal (task_id, was, became, attempt_was, attempt) VALUES (NEW.id, OLD.status, NEW.status, OLD.attempt, NEW.attempt);
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER UPDATE ON waggle.tasks FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.attempt IS DISTINCT FROM NEW.attempt OR OLD.completed_at IS DISTINCT FROM NEW.completed_at)
    EXECUTE FUNCTION journal();
"""


async def keep_journal(pool: Pool) -> None:
    """Start the journal."""
    await pool.execute(KEEP)


async def check_journal(pool: Pool) -> Counter[tuple[str, str]]:
    """Check that no final status was written again, every change is in the table of states, and attempts only rose. Returns the changes, counted."""
    moves: Counter[tuple[str, str]] = Counter()
    for row in await pool.fetch("SELECT was, became, count(*) AS n, bool_and(attempt >= attempt_was) AS rose FROM journal GROUP BY 1, 2"):
        was, became = Status(row["was"]), Status(row["became"])
        assert was not in FINAL, f"{row['n']} times a task that was {was} was made {became}"
        assert became in NEXT[was], f"{row['n']} times {was} became {became}"
        assert row["rose"], "an attempt fell"
        moves[was, became] = row["n"]
    claims = await pool.fetchval("SELECT count(*) FROM journal WHERE became = 'running' AND attempt <> attempt_was + 1")
    assert not claims, f"{claims} claims did not raise the attempt by one"
    twice = await pool.fetchval("SELECT count(*) FROM (SELECT FROM journal WHERE became = 'running' GROUP BY task_id, attempt HAVING count(*) > 1) t")
    assert not twice, f"{twice} attempts were used twice"
    return moves
