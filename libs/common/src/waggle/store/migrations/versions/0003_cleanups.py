"""Cleanups: what is owed to tasks that ended without success and whose type has a hook for that."""

from alembic import op

revision = "0003"
down_revision = "0002"

CLEANUPS = (
    "ALTER TABLE task_types ADD COLUMN cleanup boolean NOT NULL DEFAULT false",
    """
CREATE TABLE cleanups (
    task_id   uuid NOT NULL,
    attempt   integer NOT NULL,
    type      text NOT NULL,
    worker_id text,
    due       timestamptz NOT NULL DEFAULT now(),
    tries     integer NOT NULL DEFAULT 0,
    created   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, attempt)
)
""",
    "COMMENT ON COLUMN cleanups.worker_id IS 'the only one who may take it while its lease lives: who ran the task, or runs the hook; null: anybody'",
    "CREATE INDEX cleanups_due ON cleanups (due)",
)

# A trigger, so that every commit that ends a task also has the row: a settle, a cancel, a purge, the scheduler, an operator's SQL.
# The condition is tested without calling the function, which is called for bad ends only.
OWE = (
    """
CREATE FUNCTION waggle_owe_cleanup() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO cleanups (task_id, attempt, type, worker_id)
    SELECT NEW.id, NEW.attempt, NEW.type, CASE WHEN OLD.status = 'running' THEN OLD.worker_id END
    FROM task_types y WHERE y.name = NEW.type AND y.cleanup
    ON CONFLICT (task_id, attempt) DO NOTHING;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER tasks_owe_cleanup AFTER UPDATE OF status ON tasks FOR EACH ROW
WHEN (NEW.status IN ('failed', 'cancelled', 'dead_letter') AND OLD.status IN ('pending', 'running'))
EXECUTE FUNCTION waggle_owe_cleanup()
""",
)


def upgrade() -> None:
    for statement in (*CLEANUPS, *OWE):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER tasks_owe_cleanup ON tasks")
    op.execute("DROP FUNCTION waggle_owe_cleanup")
    op.execute("DROP TABLE cleanups")
    op.execute("ALTER TABLE task_types DROP COLUMN cleanup")
