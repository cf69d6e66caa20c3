"""Since when this server is the primary: leases are counted from then at the earliest, so that no failover or crash recovery costs a task a try."""

from alembic import context, op

revision = "0008"
down_revision = "0007"

# Unlogged on purpose: Postgres empties it by a crash recovery and by a promotion, and keeps it at a clean restart, which the start time shows.
# None of the server's own functions tells of all three.
TABLE = (
    """
CREATE UNLOGGED TABLE {schema}.primary_server (
    singleton         boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    system_identifier bigint NOT NULL,
    timeline          integer NOT NULL,
    started           timestamptz NOT NULL DEFAULT pg_postmaster_start_time(),
    since             timestamptz NOT NULL DEFAULT now()
)
""",
    "COMMENT ON TABLE {schema}.primary_server IS 'since when this server is the primary, written by whoever first sees that it is; at most one row'",
    # As it was until now. A running scheduler of an older Waggle does not write the row again: it takes nothing back after a crash of Postgres.
    """
INSERT INTO {schema}.primary_server (system_identifier, timeline, since)
SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int, pg_postmaster_start_time() FROM pg_control_system()
""",
)

# Nobody has seen this server as the primary yet: then it has just become it. A standby does not decide, and cannot read unlogged tables.
SINCE = """
CREATE FUNCTION {schema}.primary_since() RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    RETURN coalesce((SELECT since FROM {schema}.primary_server WHERE started = pg_postmaster_start_time()), now());
END
$$
"""

# The one expression for an expired lease.
EXPIRED = """
CREATE OR REPLACE FUNCTION {schema}.lease_expired(last_seen timestamptz, lease interval) RETURNS boolean LANGUAGE sql STABLE AS
    $$ SELECT greatest(last_seen, {since}) < now() - lease $$
"""


def upgrade() -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    for statement in (*TABLE, SINCE):
        op.execute(statement.format(schema=schema))
    op.execute(EXPIRED.format(schema=schema, since=f"{schema}.primary_since()"))


def downgrade() -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    op.execute(EXPIRED.format(schema=schema, since="pg_postmaster_start_time()"))
    op.execute(f"DROP FUNCTION {schema}.primary_since()")
    op.execute(f"DROP TABLE {schema}.primary_server")
