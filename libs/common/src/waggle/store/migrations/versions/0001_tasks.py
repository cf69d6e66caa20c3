"""Tasks, their attempts, workers, the catalogue, queues and idempotency keys."""

from alembic import op

revision = "0001"
down_revision = None

# An index costs on each of the three writes of a task's life (insert, claim, settle), so every one here is partial but the primary key.
TASKS = """
CREATE TABLE tasks (
    id           uuid PRIMARY KEY,
    type         text NOT NULL,
    queue        text NOT NULL DEFAULT 'default',
    priority     smallint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 3),
    status       text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'dead_letter')),
    description  text NOT NULL DEFAULT '',
    payload      json NOT NULL DEFAULT '{}',
    metadata     jsonb NOT NULL DEFAULT '{}',
    created      timestamptz NOT NULL DEFAULT now(),
    updated      timestamptz NOT NULL DEFAULT now(),
    run_at       timestamptz NOT NULL DEFAULT now(),
    rung_at      timestamptz,
    started_at   timestamptz,
    completed_at timestamptz,
    deadline     timestamptz,
    attempt      integer NOT NULL DEFAULT 0,
    retry_count  integer NOT NULL DEFAULT 0,
    max_retries  integer NOT NULL DEFAULT 3 CHECK (max_retries >= 0),
    lost_count   integer NOT NULL DEFAULT 0,
    timeout      double precision NOT NULL DEFAULT 300 CHECK (timeout > 0),
    worker_id    text,
    unique_key   text,
    submitted_by text,
    traceparent  text,
    error        jsonb,
    result       json
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);

COMMENT ON COLUMN tasks.rung_at IS 'when its doorbell was rung; null while nobody rang';
COMMENT ON COLUMN tasks.payload IS 'json, not jsonb: kept as it was sent, and no short text such as 1e131071 grows on its way';

CREATE INDEX tasks_due ON tasks (run_at) WHERE status = 'pending' AND rung_at IS NULL;
CREATE INDEX tasks_rung ON tasks (queue, priority, rung_at) WHERE status = 'pending' AND rung_at IS NOT NULL;
CREATE INDEX tasks_running ON tasks (worker_id) WHERE status = 'running';
CREATE INDEX tasks_dead ON tasks (updated, id) WHERE status = 'dead_letter';
CREATE INDEX tasks_deadline ON tasks (deadline) WHERE deadline IS NOT NULL AND status IN ('pending', 'running');
CREATE UNIQUE INDEX tasks_unique ON tasks (type, unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running');
CREATE INDEX tasks_ended_badly ON tasks (status, id) WHERE status IN ('failed', 'cancelled', 'dead_letter');

-- The one predicate of what may be claimed; shared by the claim, the due loop and the orphan rule.
CREATE FUNCTION waggle_claimable(status text, run_at timestamptz, deadline timestamptz) RETURNS boolean LANGUAGE sql STABLE AS
    $$ SELECT status = 'pending' AND run_at <= now() AND (deadline IS NULL OR deadline > now()) $$;
"""

ATTEMPTS = """
CREATE TABLE task_attempts (
    task_id    uuid NOT NULL,
    attempt    integer NOT NULL,
    worker_id  text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL DEFAULT now(),
    outcome    text NOT NULL CHECK (outcome IN ('completed', 'failed', 'snoozed', 'given_back', 'lost', 'cancelled', 'deadline')),
    error      jsonb,
    PRIMARY KEY (task_id, attempt)
);
"""

WORKERS = """
CREATE TABLE workers (
    id          text PRIMARY KEY,
    host        text NOT NULL,
    pid         integer NOT NULL,
    version     text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now(),
    lease       interval NOT NULL,
    concurrency integer NOT NULL,
    queues      text[] NOT NULL,
    types       text[] NOT NULL,
    running     integer NOT NULL DEFAULT 0,
    draining    boolean NOT NULL DEFAULT false
);

-- The one expression for an expired lease: it does not run while Postgres was down.
CREATE FUNCTION waggle_lease_expired(last_seen timestamptz, lease interval) RETURNS boolean LANGUAGE sql STABLE AS
    $$ SELECT greatest(last_seen, pg_postmaster_start_time()) < now() - lease $$;
"""

CATALOGUE = """
CREATE TABLE task_types (
    name        text PRIMARY KEY,
    queue       text NOT NULL,
    max_retries integer NOT NULL,
    timeout     double precision NOT NULL,
    dead_letter boolean NOT NULL DEFAULT true,
    schema      json NOT NULL,
    updated     timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE queues (
    name    text PRIMARY KEY,
    paused  boolean NOT NULL DEFAULT false,
    updated timestamptz NOT NULL DEFAULT now()
);
INSERT INTO queues (name) VALUES ('default');

CREATE TABLE idempotency_keys (
    submitter text NOT NULL,
    key       text NOT NULL,
    body_hash bytea NOT NULL,
    task_ids  uuid[] NOT NULL,
    created   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (submitter, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created);
"""


def upgrade() -> None:
    for script in (TASKS, ATTEMPTS, WORKERS, CATALOGUE):
        for part in _statements(script):
            op.execute(part)


def downgrade() -> None:
    for table in ("tasks", "task_attempts", "workers", "task_types", "queues", "idempotency_keys"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION waggle_claimable")
    op.execute("DROP FUNCTION waggle_lease_expired")


def _statements(script: str) -> list[str]:
    """asyncpg takes one statement at a time."""
    return [part for part in script.split(";\n") if part.strip()]
