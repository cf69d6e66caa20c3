"""A database from before constraints refused odd rows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

RULES = """
SELECT conrelid::regclass::text AS relation, conname AS name, pg_get_constraintdef(oid) AS rule
FROM pg_constraint WHERE conname LIKE '%\\_fit' AND connamespace = 'waggle'::regnamespace
"""


@asynccontextmanager
async def unchecked(pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator[None]:
    """Any row can be written. Afterwards the constraints are there again, and hold for new rows and changes only."""
    rules = await pool.fetch(RULES)
    assert len(rules) >= 8
    for rule in rules:
        await pool.execute(f"ALTER TABLE {rule['relation']} DROP CONSTRAINT {rule['name']}")
    await pool.execute("ALTER TABLE waggle.tasks DISABLE TRIGGER tasks_queue_fits")
    yield
    await pool.execute("ALTER TABLE waggle.tasks ENABLE TRIGGER tasks_queue_fits")
    for rule in rules:
        await pool.execute(f"ALTER TABLE {rule['relation']} ADD CONSTRAINT {rule['name']} {rule['rule']} NOT VALID")
