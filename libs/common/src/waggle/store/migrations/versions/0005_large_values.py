"""Large payloads and results are compressed by lz4 where the server has it: a third of pglz's CPU for text. Values that are there already stay as they are."""

from alembic import op

revision = "0005"
down_revision = "0004"

# A server can be built without lz4, as the embedded one is: then nothing changes but the time that it takes.
LZ4 = """
DO $$
BEGIN
    ALTER TABLE tasks ALTER COLUMN payload SET COMPRESSION lz4, ALTER COLUMN result SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this server was built without lz4: large payloads and results are compressed by pglz';
END
$$
"""


def upgrade() -> None:
    op.execute(LZ4)


def downgrade() -> None:
    op.execute("ALTER TABLE tasks ALTER COLUMN payload SET COMPRESSION default, ALTER COLUMN result SET COMPRESSION default")
