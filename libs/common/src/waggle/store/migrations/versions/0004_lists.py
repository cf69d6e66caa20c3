"""Lists of tasks that ended for good, by type and queue: an index that is written once in a task's life."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Without dead letters: statements that look for these would take it where the planner takes them for few (docs/adr/0008).
FINAL = "CREATE INDEX tasks_final ON tasks (type, queue, status, id) WHERE status IN ('completed', 'failed', 'cancelled')"


def upgrade() -> None:
    op.execute(FINAL)


def downgrade() -> None:
    op.execute("DROP INDEX tasks_final")
