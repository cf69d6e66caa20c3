"""What explains a task: the door it came in by, the rest of its trace context, and what each attempt logged."""

from alembic import op

from waggle.store.migrations.locks import change

revision = "0017"
down_revision = "0016"

COLUMNS = {
    ("tasks", "door"): "how it was submitted, such as rest; null by SQL",
    ("tasks", "tracestate"): "of W3C Trace Context, beside traceparent",
    ("task_attempts", "logs"): "json: what its handler logged, {at, level, event, fields} each",
}


def upgrade() -> None:
    for (table, column), comment in COLUMNS.items():
        kind = "json" if column == "logs" else "text"
        change(table, f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{comment}'")


def downgrade() -> None:
    for table, column in COLUMNS:
        change(table, f"ALTER TABLE {table} DROP COLUMN {column}")
