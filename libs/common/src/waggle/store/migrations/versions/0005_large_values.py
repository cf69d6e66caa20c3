"""Large payloads and results are compressed by lz4 where the server has it, which takes less CPU than pglz. Values that are there already stay as they are."""

from alembic import op

revision = "0005"
down_revision = "0004"

# A server can be built without lz4, as the embedded one is: then only the time to insert differs. A long-running reader may hold the table. Statements
# queue behind one that waits for a lock, so this one waits briefly, and tries again.
CHANGE = """
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR attempt IN 1..100 LOOP
        BEGIN
            ALTER TABLE tasks ALTER COLUMN payload SET COMPRESSION {to}, ALTER COLUMN result SET COMPRESSION {to};
            RETURN;
        EXCEPTION
            WHEN feature_not_supported THEN
                RAISE NOTICE 'this server was built without lz4: large payloads and results are compressed by pglz';
                RETURN;
            WHEN lock_not_available THEN
                PERFORM pg_sleep(1);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'the table tasks was in use by others for minutes: end long transactions, and migrate again';
END
$$
"""


def upgrade() -> None:
    op.execute(CHANGE.format(to="lz4"))


def downgrade() -> None:
    op.execute(CHANGE.format(to="default"))
