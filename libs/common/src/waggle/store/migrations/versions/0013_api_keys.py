"""API keys: who may use the API. A key's secret is stored as an HMAC; while it is replaced, the one before lives on for a time."""

from alembic import op

revision = "0013"
down_revision = "0012"

TABLE = """
CREATE TABLE api_keys (
    id text PRIMARY KEY,
    comment text NOT NULL,
    scopes text[] NOT NULL,
    queues text[],
    types text[],
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_until timestamptz,
    created timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    expires timestamptz,
    revoked timestamptz,
    last_used timestamptz
)
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE api_keys")
