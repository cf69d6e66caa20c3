"""Lists of tasks that ended for good, by type and queue: an index that is written once in a task's life."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Without dead letters: statements that look for these would take it where the planner takes them for few (docs/adr/0008).
FINAL = "CREATE INDEX CONCURRENTLY tasks_final ON tasks (type, queue, status, id) WHERE status IN ('completed', 'failed', 'cancelled')"
NONE = "DROP INDEX CONCURRENTLY IF EXISTS tasks_final"


def upgrade() -> None:
    """Beside running services, however long it takes. What an interrupted try left behind is invalid, and made anew."""
    with op.get_context().autocommit_block():
        op.execute(NONE)
        op.execute(FINAL)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(NONE)
