"""The audit trail: who did what. Rows are only added; a trigger refuses everything else, whoever asks."""

from alembic import op

revision = "0015"
down_revision = "0014"

TABLE = """
CREATE TABLE audit_trail (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    address text NOT NULL,
    request_id text NOT NULL,
    before json,
    after json,
    hash bytea NOT NULL
)
"""
REFUSE = """
CREATE FUNCTION refuse_change_of_audit_trail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'the audit trail is only added to';
END
$$
"""
BLOCKS = """
CREATE TABLE blocked_addresses (
    address text PRIMARY KEY,
    reason text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    until timestamptz NOT NULL
)
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(REFUSE)
    op.execute("CREATE TRIGGER audit_trail_is_only_added_to BEFORE UPDATE OR DELETE ON audit_trail EXECUTE FUNCTION refuse_change_of_audit_trail()")
    op.execute("CREATE TRIGGER audit_trail_is_not_emptied BEFORE TRUNCATE ON audit_trail EXECUTE FUNCTION refuse_change_of_audit_trail()")
    op.execute(BLOCKS)


def downgrade() -> None:
    op.execute("DROP TABLE blocked_addresses")
    op.execute("DROP TABLE audit_trail")
    op.execute("DROP FUNCTION refuse_change_of_audit_trail")
