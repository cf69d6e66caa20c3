"""The SQL door, publishers, and where the end of a task is reported."""

import re
from collections.abc import Iterator
from importlib import resources

from alembic import context, op

from waggle.store.migrations.locks import change

revision = "0019"
down_revision = "0018"

PUBLISHERS = """
CREATE TABLE publishers (
    name       text PRIMARY KEY,
    password   text NOT NULL,
    queues     text[],
    types      text[],
    events     boolean NOT NULL DEFAULT false,
    created    timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    rotated    timestamptz
)
"""
COMMENTS = (
    "COMMENT ON TABLE publishers IS 'who may publish tasks to NATS; a database role of the same name has the same limits'",
    "COMMENT ON COLUMN publishers.password IS 'bcrypt, as nats-server takes it'",
    "COMMENT ON COLUMN publishers.events IS 'whether it may hear the events of tasks'",
    "COMMENT ON COLUMN task_attempts.emitted IS 'json: the last values that its handler emitted, {attempt, number, at, value} each'",
    "COMMENT ON COLUMN tasks.callback_url IS 'where the end of the task is reported'",
)

PASSED = "queue, priority, description, metadata, run_at, delay, deadline, max_retries, timeout, unique_key, idempotency_key, callback_url, traceparent"
# The same for a payload that is json or jsonb already. A literal is neither: Postgres takes it for text.
TYPED = """
CREATE FUNCTION waggle.enqueue(type text, payload {kind}, queue text DEFAULT NULL, priority integer DEFAULT NULL, description text DEFAULT NULL,
    metadata jsonb DEFAULT NULL, run_at timestamptz DEFAULT NULL, delay double precision DEFAULT NULL, deadline timestamptz DEFAULT NULL,
    max_retries integer DEFAULT NULL, timeout double precision DEFAULT NULL, unique_key text DEFAULT NULL, idempotency_key text DEFAULT NULL,
    callback_url text DEFAULT NULL, traceparent text DEFAULT NULL) RETURNS uuid
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT waggle.enqueue(type, payload::text, {passed}) $$;
CREATE FUNCTION waggle.enqueue_many(tasks {kind}, idempotency_key text DEFAULT NULL) RETURNS TABLE (id uuid, created boolean)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$ SELECT * FROM waggle.enqueue_many(tasks::text, idempotency_key) $$;
"""
# Both at once: whoever waits for the second would keep the first from all others.
BOTH = "LOCK TABLE tasks, task_attempts IN ACCESS EXCLUSIVE MODE"
EACH = """
DO $each$
DECLARE
    found regprocedure;
BEGIN
    FOR found IN SELECT oid FROM pg_proc WHERE pronamespace = '"{schema}"'::regnamespace AND proname IN ({names}) LOOP
        EXECUTE '{command}';
    END LOOP;
END
$each$
"""
REPORT = (
    "CREATE TRIGGER tasks_owe_callback AFTER UPDATE OF status ON tasks FOR EACH ROW"
    " WHEN (NEW.callback_url IS NOT NULL AND NEW.status <> OLD.status AND NEW.status IN ('completed', 'failed', 'cancelled', 'dead_letter'))"
    " EXECUTE FUNCTION owe_callback()"
)
END = re.compile(r"(?<=\$\$);$", re.MULTILINE)


def functions() -> Iterator[str]:
    """The statements that make the SQL door."""
    schema = f'"{context.config.attributes["schema"]}"'
    source = resources.files("waggle.store.migrations").joinpath("sql/0019_sql_door.sql").read_text()
    source += "".join(TYPED.format(kind=kind, passed=PASSED) for kind in ("json", "jsonb"))
    for statement in END.split(source):
        if statement.strip():
            yield re.sub(r"(?<!')\bwaggle\.", f"{schema}.", statement.strip()).replace("waggle_schema", schema)


def upgrade() -> None:
    change("tasks or task_attempts", BOTH)
    op.execute(PUBLISHERS)
    change("tasks", "ALTER TABLE tasks ADD COLUMN callback_url text")
    change("task_attempts", "ALTER TABLE task_attempts ADD COLUMN emitted json")
    for comment in COMMENTS:
        op.execute(comment)
    for statement in functions():
        op.execute(statement)
    change("tasks", REPORT)
    _each("REVOKE ALL ON FUNCTION ' || found || ' FROM PUBLIC")


def downgrade() -> None:
    change("tasks or task_attempts", BOTH)
    _each("DROP FUNCTION ' || found || ' CASCADE")
    change("task_attempts", "ALTER TABLE task_attempts DROP COLUMN emitted")
    change("tasks", "ALTER TABLE tasks DROP COLUMN callback_url")
    op.execute("DROP TABLE publishers")


def _each(command: str) -> None:
    """Do this with each function of the door."""
    names = sorted(set(re.findall(r"CREATE FUNCTION \S+\.(\w+)\(", "\n".join(functions()))))
    listed = ", ".join(f"'{name}'" for name in names)
    op.execute(EACH.format(schema=context.config.attributes["schema"], names=listed, command=command))
