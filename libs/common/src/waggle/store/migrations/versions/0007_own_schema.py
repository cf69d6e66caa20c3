"""A schema of its own: tables move out of the schema that an older Waggle put them in, and functions name what they use with its schema.

The version table of the old schema stays there and gets this revision: older services and an older `waggle migrate` read it and refuse to work.
"""

from alembic import context, op

revision = "0007"
down_revision = "0006"

TABLES = ("tasks", "task_attempts", "workers", "task_types", "queues", "idempotency_keys", "cleanups", "redrives", "dead_letter_retries")
FUNCTIONS = {
    "claimable": "text, timestamptz, timestamptz",
    "lease_expired": "timestamptz, interval",
    "normalised": "text",
    "fingerprint": "text, jsonb",
    "dead_letter_fits": "uuid, text, text, jsonb, text, timestamptz, uuid[], text[], text, text[], text, text, timestamptz, timestamptz",
    "owe_cleanup": "",
}

# A statement that waits for the exclusive lock of a table holds up everybody behind it. So this one waits briefly and tries again, as 0005 does.
# All locks are taken before the first change: the change itself takes milliseconds.
MOVE = """
DO $$
BEGIN
    PERFORM set_config('lock_timeout', '500ms', true);
    FOR attempt IN 1..100 LOOP
        BEGIN
            LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE;
            {changes}
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN
                PERFORM pg_sleep(1);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'the tables were in use by others for minutes: end long transactions and migrate again';
END
$$
"""

VERSIONS = (
    "CREATE TABLE {schema}.alembic_version (version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
    "INSERT INTO {schema}.alembic_version (version_num) VALUES ('0007')",
    "COMMENT ON TABLE {home}.alembic_version IS 'Waggle moved to the schema {plain}. Keep this table until every Waggle older than 0007 is gone, then drop it'",
)

FINGERPRINT = r"""
CREATE OR REPLACE FUNCTION {schema}.{prefix}fingerprint(type text, error jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(encode(sha256(convert_to(concat_ws(E'\x1f', type, coalesce(error ->> 'code', ''), coalesce(error #>> '{{details,exception}}', ''),
                                                    {schema}.{prefix}normalised(error ->> 'message')), 'UTF8')), 'hex'), 16)
$$
"""
FITS = """
CREATE OR REPLACE FUNCTION {schema}.{prefix}dead_letter_fits(id uuid, type text, queue text, error jsonb, fingerprint text, updated timestamptz,
                                        ids uuid[], types text[], a_queue text, codes text[], part text, a_fingerprint text,
                                        died_after timestamptz, died_before timestamptz)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (died_before IS NULL OR updated < died_before) AND (died_after IS NULL OR updated > died_after)
       AND (ids IS NULL OR id = ANY (ids)) AND (types IS NULL OR type = ANY (types)) AND (a_queue IS NULL OR queue = a_queue)
       AND (a_fingerprint IS NULL OR coalesce(fingerprint, {schema}.{prefix}fingerprint(type, error)) = a_fingerprint)
       AND (codes IS NULL OR error ->> 'code' = ANY (codes))
       AND (part IS NULL OR strpos(lower(error ->> 'message'), part) > 0)
$$
"""
OWE = """
CREATE OR REPLACE FUNCTION {schema}.{prefix}owe_cleanup() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.cleanups (task_id, attempt, type, worker_id)
    SELECT NEW.id, NEW.attempt, NEW.type, CASE WHEN OLD.status = 'running' THEN OLD.worker_id END
    FROM {schema}.task_types y WHERE y.name = NEW.type AND y.cleanup
    ON CONFLICT (task_id, attempt) DO NOTHING;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    home, schema = context.config.attributes["home"], context.config.attributes["schema"]
    if home != schema:
        _move(home, schema)
    for name, arguments in FUNCTIONS.items():
        op.execute(f'ALTER FUNCTION "{schema}".waggle_{name}({arguments}) RENAME TO {name}')
    for function in (FINGERPRINT, FITS, OWE):
        op.execute(function.format(schema=f'"{schema}"', prefix=""))


def downgrade() -> None:
    """The functions get their old names back; tables stay in their schema."""
    schema = context.config.attributes["schema"]
    for name, arguments in FUNCTIONS.items():
        op.execute(f'ALTER FUNCTION "{schema}".{name}({arguments}) RENAME TO waggle_{name}')
    for function in (FINGERPRINT, FITS, OWE):
        op.execute(function.format(schema=f'"{schema}"', prefix="waggle_"))


def _move(home: str, schema: str) -> None:
    changes = [f'ALTER TABLE "{home}".{table} SET SCHEMA "{schema}"' for table in TABLES]
    changes += [f'ALTER FUNCTION "{home}".waggle_{name}({arguments}) SET SCHEMA "{schema}"' for name, arguments in FUNCTIONS.items()]
    op.execute(MOVE.format(tables=", ".join(f'"{home}".{table}' for table in TABLES), changes=";\n            ".join(changes) + ";"))
    for statement in VERSIONS:
        op.execute(statement.format(home=f'"{home}"', schema=f'"{schema}"', plain=schema))
