"""Dead letters: their fingerprints, a record of retries, and redrives. It rewrites no table: the dlq service adds fingerprints to older dead letters."""

from alembic import op

revision = "0002"
down_revision = "0001"

# Written when a task dies, so that grouping a hundred thousand dead letters need not read as many messages.
FINGERPRINTS = (
    "ALTER TABLE tasks ADD COLUMN fingerprint text",
    r"""
CREATE FUNCTION waggle_normalised(message text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(regexp_replace(regexp_replace(left(message, 1000),
        '"[^"]*("|$)|(?<![[:alnum:]])''[^'']*(''|$)', '''…''', 'g'),
        '\m[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\M|0x[0-9a-f]+|\m(?=[a-f]*[0-9])[0-9a-f]{8,}\M|[0-9]+([.][0-9]+)*', '#', 'gi'), 200)
$$
""",
    r"""
CREATE FUNCTION waggle_fingerprint(type text, error jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(encode(sha256(convert_to(concat_ws(E'\x1f', type, coalesce(error ->> 'code', ''), coalesce(error #>> '{details,exception}', ''),
                                                    waggle_normalised(error ->> 'message')), 'UTF8')), 'hex'), 16)
$$
""",
)

# The one predicate of what a filter of dead letters means; null is no filter. Postgres inlines it, so that times become conditions of the index.
FITS = """
CREATE FUNCTION waggle_dead_letter_fits(id uuid, type text, queue text, error jsonb, fingerprint text, updated timestamptz,
                                        ids uuid[], types text[], a_queue text, codes text[], part text, a_fingerprint text,
                                        died_after timestamptz, died_before timestamptz)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (died_before IS NULL OR updated < died_before) AND (died_after IS NULL OR updated > died_after)
       AND (ids IS NULL OR id = ANY (ids)) AND (types IS NULL OR type = ANY (types)) AND (a_queue IS NULL OR queue = a_queue)
       AND (a_fingerprint IS NULL OR coalesce(fingerprint, waggle_fingerprint(type, error)) = a_fingerprint)
       AND (codes IS NULL OR error ->> 'code' = ANY (codes))
       AND (part IS NULL OR strpos(lower(error ->> 'message'), part) > 0)
$$
"""

RETRIES = (
    """
CREATE TABLE dead_letter_retries (
    task_id    uuid NOT NULL,
    retried_at timestamptz NOT NULL DEFAULT now(),
    attempt    integer NOT NULL,
    how        text NOT NULL CHECK (how IN ('manual', 'automatic', 'redrive')),
    redrive_id uuid,
    retried_by text,
    payload    json,
    outcome    text CHECK (outcome IN ('completed', 'failed', 'cancelled')),
    PRIMARY KEY (task_id, retried_at)
)
""",
    "COMMENT ON COLUMN dead_letter_retries.attempt IS 'the attempt that had died'",
    "COMMENT ON COLUMN dead_letter_retries.payload IS 'the payload that this retry replaced; null when it was not edited'",
    "COMMENT ON COLUMN dead_letter_retries.outcome IS 'of a redriven task: how its first attempt afterwards ended; null while nobody knows'",
    "CREATE INDEX dead_letter_retries_open ON dead_letter_retries (redrive_id) WHERE redrive_id IS NOT NULL AND outcome IS NULL",
)

REDRIVES = (
    """
CREATE TABLE redrives (
    id              uuid PRIMARY KEY,
    state           text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'completed', 'stopped', 'cancelled')),
    filter          jsonb NOT NULL,
    rate            double precision NOT NULL CHECK (rate > 0),
    most            integer CHECK (most > 0),
    matched         bigint NOT NULL DEFAULT 0,
    retried         bigint NOT NULL DEFAULT 0,
    skipped         bigint NOT NULL DEFAULT 0,
    ended           bigint NOT NULL DEFAULT 0,
    failed_again    bigint NOT NULL DEFAULT 0,
    recent_ended    integer NOT NULL DEFAULT 0,
    recent_failed   integer NOT NULL DEFAULT 0,
    reason          text,
    created         timestamptz NOT NULL DEFAULT now(),
    updated         timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    submitted_by    text NOT NULL,
    reached_updated timestamptz,
    reached_id      uuid,
    portion_at      timestamptz,
    next_at         timestamptz DEFAULT now()
)
""",
    "COMMENT ON COLUMN redrives.next_at IS 'when the next step is due; null when nothing is left to do or to watch'",
    "COMMENT ON COLUMN redrives.recent_ended IS 'outcomes of late, older ones forgotten by halves; so recent_failed'",
    "CREATE INDEX redrives_next ON redrives (next_at) WHERE next_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in (*FINGERPRINTS, FITS, *RETRIES, *REDRIVES):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE redrives")
    op.execute("DROP TABLE dead_letter_retries")
    op.execute("DROP FUNCTION waggle_dead_letter_fits")
    op.execute("DROP FUNCTION waggle_fingerprint")
    op.execute("DROP FUNCTION waggle_normalised")
    op.execute("ALTER TABLE tasks DROP COLUMN fingerprint")
