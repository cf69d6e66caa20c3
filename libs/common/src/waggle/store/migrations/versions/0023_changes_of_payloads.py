"""Redrives that change payloads: the changes, how many of the changed payloads did not fit, and the first of them."""

from waggle.store.migrations.locks import change

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    change("redrives", "ALTER TABLE redrives ADD COLUMN changes json, ADD COLUMN unfit bigint NOT NULL DEFAULT 0, ADD COLUMN first_unfit jsonb")


def downgrade() -> None:
    change("redrives", "ALTER TABLE redrives DROP COLUMN changes, DROP COLUMN unfit, DROP COLUMN first_unfit")
