"""Users who sign in at an identity provider: they have no password here, and a subject there."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute("ALTER TABLE users ALTER COLUMN password DROP NOT NULL")
    op.execute("ALTER TABLE users ADD COLUMN subject text UNIQUE")
    op.execute("ALTER TABLE users ADD CONSTRAINT users_sign_in_somehow CHECK ((password IS NULL) <> (subject IS NULL))")


def downgrade() -> None:
    op.execute("DELETE FROM users WHERE password IS NULL")
    op.execute("ALTER TABLE users DROP COLUMN subject")
    op.execute("ALTER TABLE users ALTER COLUMN password SET NOT NULL")
