"""Changes of tables that services use while they are migrated.

A long-running reader may hold a table. Statements queue behind one that waits for a lock, so a change waits briefly, and tries again.
"""

from alembic import op

CHANGE = """
DO $change$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR attempt IN 1..100 LOOP
        BEGIN
            {change};
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN
                PERFORM pg_sleep(1);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'the table {table} was in use by others for minutes: end long transactions, and migrate again';
END
$change$
"""


def change(table: str, statement: str) -> None:
    """Execute it once the table is free. Raises lock_not_available after minutes."""
    op.execute(CHANGE.format(table=table, change=statement.strip()))
