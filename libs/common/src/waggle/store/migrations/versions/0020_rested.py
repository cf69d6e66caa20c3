"""Tasks in the order in which they came to rest: an index that is written once in a task's life, for consumers that catch up."""

from alembic import op

revision = "0020"
down_revision = "0019"

# `attempt >= 0` holds for every row. Only a statement that says it can use this index: the planner would take it for retention and lists, too.
RESTED = "CREATE INDEX CONCURRENTLY tasks_rested ON tasks (completed_at, id) WHERE completed_at IS NOT NULL AND attempt >= 0"
NONE = "DROP INDEX CONCURRENTLY IF EXISTS tasks_rested"


def upgrade() -> None:
    """Built while services run, however long it takes. An index that an interrupted run left behind is invalid and is built again."""
    with op.get_context().autocommit_block():
        op.execute(NONE)
        op.execute(RESTED)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(NONE)
