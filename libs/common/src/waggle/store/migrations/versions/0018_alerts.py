"""Alerts that schedulers raise, and whether the webhook has heard of them."""

from alembic import op

revision = "0018"
down_revision = "0017"

TABLE = """
CREATE TABLE alerts (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key           text NOT NULL,
    name          text NOT NULL,
    severity      text NOT NULL CHECK (severity IN ('page', 'ticket')),
    summary       text NOT NULL,
    labels        jsonb NOT NULL DEFAULT '{}',
    value         double precision,
    since         timestamptz NOT NULL DEFAULT now(),
    seen          timestamptz NOT NULL DEFAULT now(),
    resolved_at   timestamptz,
    sent          text CHECK (sent IN ('firing', 'resolved')),
    sent_at       timestamptz,
    claimed_until timestamptz,
    error         text
)
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("COMMENT ON COLUMN alerts.sent IS 'the last message that was handed over: to the webhook, or to a task that repeats it'")
    op.execute("CREATE UNIQUE INDEX alerts_firing ON alerts (key) WHERE resolved_at IS NULL")
    op.execute("CREATE INDEX alerts_since ON alerts (since)")


def downgrade() -> None:
    op.execute("DROP TABLE alerts")
