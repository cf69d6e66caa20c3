"""What explains a task: the door it came in by, the rest of its trace context, and what each attempt logged."""

from alembic import op

revision = "0017"
down_revision = "0016"

COLUMNS = {
    ("tasks", "door"): "how it was submitted, such as rest; null by SQL",
    ("tasks", "tracestate"): "of W3C Trace Context, beside traceparent",
    ("task_attempts", "logs"): "json: what its handler logged, {at, level, event, fields} each",
}

# As in 0012: statements queue behind one that waits for a lock, so this one waits briefly, and tries again.
CHANGE = """
DO $change$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR attempt IN 1..100 LOOP
        BEGIN
            {change};
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN
                PERFORM pg_sleep(1);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'the table {table} was in use by others for minutes: end long transactions, and migrate again';
END
$change$
"""


def upgrade() -> None:
    for (table, column), comment in COLUMNS.items():
        kind = "json" if column == "logs" else "text"
        op.execute(CHANGE.format(table=table, change=f"ALTER TABLE {table} ADD COLUMN {column} {kind}"))
        op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{comment}'")


def downgrade() -> None:
    for table, column in COLUMNS:
        op.execute(CHANGE.format(table=table, change=f"ALTER TABLE {table} DROP COLUMN {column}"))
