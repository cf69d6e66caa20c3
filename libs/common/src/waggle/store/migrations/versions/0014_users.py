"""Users who sign in with a password, and their sessions. A session's refresh token is made from its id and generation, so none is stored."""

from alembic import op

revision = "0014"
down_revision = "0013"

USERS = """
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE,
    role text NOT NULL,
    password text NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    created timestamptz NOT NULL DEFAULT now(),
    last_login timestamptz
)
"""
SESSIONS = """
CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    generation integer NOT NULL DEFAULT 0,
    created timestamptz NOT NULL DEFAULT now(),
    refreshed timestamptz NOT NULL DEFAULT now(),
    expires timestamptz NOT NULL,
    ended timestamptz
)
"""


def upgrade() -> None:
    op.execute(USERS)
    op.execute(SESSIONS)
    op.execute("CREATE INDEX sessions_of_user ON sessions (user_id)")


def downgrade() -> None:
    op.execute("DROP TABLE sessions")
    op.execute("DROP TABLE users")
