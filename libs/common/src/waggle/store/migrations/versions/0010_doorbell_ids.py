"""How many tasks a worker can read from one doorbell. Those of an older Waggle, which do not say, read one."""

from alembic import context, op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    op.execute(f"ALTER TABLE {schema}.workers ADD COLUMN doorbell_ids integer NOT NULL DEFAULT 1")


def downgrade() -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    op.execute(f"ALTER TABLE {schema}.workers DROP COLUMN doorbell_ids")
