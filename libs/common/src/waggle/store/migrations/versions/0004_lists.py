"""Lists of tasks that ended for good, by type and queue: an index that is written once in a task's life."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Without dead letters: the planner would use this index for statements about them when it expects few (docs/adr/0008).
FINAL = "CREATE INDEX CONCURRENTLY tasks_final ON tasks (type, queue, status, id) WHERE status IN ('completed', 'failed', 'cancelled')"
NONE = "DROP INDEX CONCURRENTLY IF EXISTS tasks_final"


def upgrade() -> None:
    """Built while services run, however long it takes. An index that an interrupted run left behind is invalid and is built again."""
    with op.get_context().autocommit_block():
        op.execute(NONE)
        op.execute(FINAL)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(NONE)
