"""Which tasks services can work with. Rows that were written by SQL may hold times that Python does not know, and numbers that overflow when they rise."""

from alembic import context, op

revision = "0011"
down_revision = "0010"

# Every look that takes many tasks at once asks this, so that one odd row does not stall the others. For Postgres NaN is greater than any number, Infinity too.
FITS = """
CREATE FUNCTION {schema}.task_fits(t {schema}.tasks) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT t.attempt BETWEEN 0 AND 1000000000 AND t.retry_count BETWEEN 0 AND 1000000000 AND t.lost_count BETWEEN 0 AND 1000000000
       AND t.timeout < 'Infinity'
       AND least(t.created, t.updated, t.run_at, t.rung_at, t.started_at, t.completed_at, t.deadline) >= '0002-01-01 00:00:00+00'::timestamptz
       AND greatest(t.created, t.updated, t.run_at, t.rung_at, t.started_at, t.completed_at, t.deadline) < '9999-01-01 00:00:00+00'::timestamptz
$$
"""

# The one expression for an expired lease, for any lease that an interval can be.
EXPIRED = """
CREATE OR REPLACE FUNCTION {schema}.lease_expired(last_seen timestamptz, lease interval) RETURNS boolean LANGUAGE sql STABLE AS
    $$ SELECT greatest(last_seen, {schema}.primary_since()) < now() - {lease} $$;
"""
ANY_LEASE = "least(greatest(lease, interval '0'), interval '100 years')"


def upgrade() -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    op.execute(FITS.format(schema=schema))
    op.execute(EXPIRED.format(schema=schema, lease=ANY_LEASE))


def downgrade() -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    op.execute(EXPIRED.format(schema=schema, lease="lease"))
    op.execute(f"DROP FUNCTION {schema}.task_fits")
