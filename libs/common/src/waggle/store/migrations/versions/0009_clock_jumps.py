"""Jumps of the database's clock, as schedulers saw them: the audit must not take them for a broken timeline."""

from alembic import context, op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    "CREATE TABLE {schema}.clock_jumps (at timestamptz PRIMARY KEY DEFAULT now(), seconds double precision NOT NULL)",
    "COMMENT ON TABLE {schema}.clock_jumps IS 'at: the time after the jump; seconds: by how much the clock was set forward, negative for back'",
    """
CREATE FUNCTION {schema}.set_back_between(first timestamptz, later timestamptz, slack double precision) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM {schema}.clock_jumps j
        WHERE j.seconds < 0 AND later >= j.at - slack * interval '1 second' AND first <= j.at + (slack - j.seconds) * interval '1 second'
    )
$$
""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement.format(schema=f'"{context.config.attributes["schema"]}"'))


def downgrade() -> None:
    schema = f'"{context.config.attributes["schema"]}"'
    op.execute(f"DROP FUNCTION {schema}.set_back_between(timestamptz, timestamptz, double precision)")
    op.execute(f"DROP TABLE {schema}.clock_jumps")
