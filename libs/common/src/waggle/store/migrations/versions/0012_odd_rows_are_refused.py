"""Constraints that refuse odd rows: values that SQL can write and services cannot work with.

They are added without a look at the rows that are there, so the tables are locked for milliseconds. `waggle migrate` validates them afterwards, beside
running services. An odd row of before stays as it is, and Postgres refuses each change that leaves it odd.

Postgres checks a constraint at every change of a row, so tasks have few and cheap ones: together they take 0.7 µs of a task's three statements. A queue's
name never changes on the way, and its pattern costs more than all of them: a trigger checks it, which costs an update nothing.
"""

from alembic import context, op

from waggle.store.migrations.locks import change

revision = "0012"
down_revision = "0011"

FIRST, LAST = "'0002-01-01 00:00:00+00'::timestamptz", "'9999-01-01 00:00:00+00'::timestamptz"
TIMES = "{0}created, {0}updated, {0}run_at, {0}rung_at, {0}started_at, {0}completed_at, {0}deadline"
NAME = """{0} COLLATE "C" ~ '^[a-z][a-z0-9_-]{{0,31}}$'"""


def within(columns: str) -> str:
    """Each of these times that is not null is one that Python knows, with room for a time zone."""
    return f"least({columns}) >= {FIRST} AND greatest({columns}) < {LAST}"


CHECKS = {
    "tasks": {
        "times": within(TIMES.format("")),
        # For Postgres NaN is greater than any number, Infinity too.
        "numbers": "attempt >= 0 AND attempt <= 1000000000 AND retry_count >= 0 AND retry_count <= 1000000000"
        " AND lost_count >= 0 AND lost_count <= 1000000000 AND timeout < 'Infinity'",
        "running": "status <> 'running' OR (worker_id IS NOT NULL AND started_at IS NOT NULL AND attempt > 0)",
    },
    "workers": {"lease": "lease >= interval '0' AND lease <= interval '100 years'", "times": within("started_at, last_seen")},
    "queues": {"name": NAME.format("name")},
    "task_types": {"queue": NAME.format("queue"), "timeout": "timeout > 0 AND timeout < 'Infinity'", "max_retries": "max_retries >= 0"},
}

# Every look that takes many tasks at once asks this, so that no row of before stalls the others. A number may still rise by one within its constraint.
FITS = """
CREATE OR REPLACE FUNCTION {schema}.task_fits(t {schema}.tasks) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT t.attempt BETWEEN 0 AND 1000000000 AND t.retry_count BETWEEN 0 AND {most} AND t.lost_count BETWEEN 0 AND {most} AND t.timeout < 'Infinity'
       AND {times}
$$
"""

REFUSE = """
CREATE FUNCTION refuse_odd_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING
        MESSAGE = 'the queue ' || quote_literal(left(NEW.queue, 40)) || ' is no name: up to 32 lower-case letters, digits, _ and -, starting with a letter',
        DETAIL = 'Failing row has the id ' || NEW.id || '.', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = 'tasks_queue_fits';
END
$$
"""
TRIGGER = f"""
CREATE TRIGGER tasks_queue_fits AFTER INSERT OR UPDATE OF queue ON tasks FOR EACH ROW
WHEN (NEW.queue <> 'default' AND NOT {NAME.format("NEW.queue")}) EXECUTE FUNCTION refuse_odd_queue()
"""
# All at once: whoever waits for one would keep the others from everybody.
ALL = f"LOCK TABLE {', '.join(CHECKS)} IN ACCESS EXCLUSIVE MODE"


def upgrade() -> None:
    change(" or ".join(CHECKS), ALL)
    _replace_fits("999999999")
    op.execute(REFUSE)
    for table, checks in CHECKS.items():
        change(table, f"ALTER TABLE {table} {', '.join(f'ADD CONSTRAINT {table}_{name}_fit CHECK ({rule}) NOT VALID' for name, rule in checks.items())}")
    change("tasks", TRIGGER)


def downgrade() -> None:
    change(" or ".join(CHECKS), ALL)
    change("tasks", "DROP TRIGGER tasks_queue_fits ON tasks")
    for table, checks in CHECKS.items():
        change(table, f"ALTER TABLE {table} {', '.join(f'DROP CONSTRAINT {table}_{name}_fit' for name in checks)}")
    op.execute("DROP FUNCTION refuse_odd_queue")
    _replace_fits("1000000000")


def _replace_fits(most: str) -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    op.execute(FITS.format(schema=schema, most=most, times=within(TIMES.format("t."))))
