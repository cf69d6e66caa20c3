"""The versions of each task type: what its payload looked like in each, and which of them live workers serve."""

import re
from importlib import resources

from alembic import context, op

from waggle.store.migrations.locks import change

revision = "0021"
down_revision = "0020"

VERSIONS = """
CREATE TABLE task_versions (
    name        text NOT NULL,
    version     text NOT NULL,
    queue       text NOT NULL,
    max_retries integer NOT NULL,
    timeout     double precision NOT NULL,
    dead_letter boolean NOT NULL,
    schema      json NOT NULL,
    backoff     json,
    cleanup     boolean NOT NULL,
    announced   timestamptz NOT NULL DEFAULT now(),
    served      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
)
"""
COMMENTS = (
    "COMMENT ON TABLE task_versions IS 'each payload that a task type has had'",
    "COMMENT ON COLUMN task_versions.version IS 'the first 12 hexadecimal digits of the SHA-256 of the schema''s text'",
    "COMMENT ON COLUMN task_versions.announced IS 'when a worker announced it for the first time'",
    "COMMENT ON COLUMN task_versions.served IS 'the last announcement, or the last sign of life of a worker that has left since, whichever is later'",
    "COMMENT ON COLUMN task_types.backoff IS '{kind, base, factor, cap, jitter} or {kind, function}; null: the default'",
    "COMMENT ON COLUMN workers.versions IS 'the version of each of its types, in their order; empty for workers that know of none'",
)
# Most workers have the same types: they are counted together before their types are unfolded. A worker that names no versions has the last one announced.
# A lease lives as lease_expired says; here Postgres asks once since when this is the primary, not once for each worker.
LIVES = "greatest(last_seen, (SELECT {schema}.primary_since())) >= now() - least(greatest(lease, interval '0'), interval '100 years')"
# `place` 1 is the newest version that a live worker serves; while nobody lives, the one that was served last.
VIEW = """
CREATE VIEW type_versions AS
SELECT placed.*, placed.workers > 0 OR placed.place = 1 AS accepted FROM (
    SELECT v.name, v.version, v.queue, v.max_retries, v.timeout, v.dead_letter, v.schema, v.backoff, v.cleanup, v.announced,
           greatest(v.served, s.seen) AS served, coalesce(s.workers, 0)::integer AS workers,
           row_number() OVER (
               PARTITION BY v.name
               ORDER BY s.workers > 0 DESC NULLS LAST, CASE WHEN s.workers > 0 THEN v.announced ELSE greatest(v.served, s.seen) END DESC, v.version
           ) AS place
    FROM task_versions v LEFT JOIN (
        SELECT each.name, coalesce(each.version, (SELECT n.version FROM task_versions n WHERE n.name = each.name ORDER BY n.served DESC LIMIT 1)) AS version,
               sum(alike.workers) AS workers, max(alike.seen) AS seen
        FROM (
            SELECT types, versions, count(*) FILTER (WHERE NOT draining AND {lives}) AS workers, max(last_seen) AS seen
            FROM workers GROUP BY types, versions
        ) alike CROSS JOIN unnest(alike.types, alike.versions) each(name, version)
        GROUP BY 1, 2
    ) s USING (name, version)
) placed
"""
KNOWN = """
INSERT INTO task_versions (name, version, queue, max_retries, timeout, dead_letter, schema, cleanup, announced, served)
SELECT name, left(encode(sha256(convert_to(schema::text, 'UTF8')), 'hex'), 12), queue, max_retries, timeout, dead_letter, schema, cleanup, updated, updated
FROM task_types
"""
# Both at once: whoever waits for the second would keep the first from all others.
BOTH = "LOCK TABLE task_types, workers IN ACCESS EXCLUSIVE MODE"
# Of each announcement, whether or not it changes the row: workers of before announce in the same way. A row trigger before an insert sees both.
ANNOUNCED = "CREATE TRIGGER task_types_note_version BEFORE INSERT ON task_types FOR EACH ROW EXECUTE FUNCTION note_version()"
# Once for all workers that a statement deletes, so that it locks their versions in one order.
LEFT = "CREATE TRIGGER workers_note_served AFTER DELETE ON workers REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_served()"

END = re.compile(r"(?<=\$\$);$", re.MULTILINE)
# The SQL door reads the newest version that is served, once for tasks of one type that follow each other, and takes what any served version takes.
DOOR = (
    ("known waggle.task_types;", "known waggle.type_versions;"),
    ("        known := NULL;\n", "        known := CASE WHEN known.name = task ->> 'type' THEN known END;\n"),
    (
        "            SELECT y.* INTO known FROM waggle.task_types y WHERE y.name = made.type;\n            IF NOT FOUND AND NOT accepts_unknown THEN\n",
        "            IF known.name IS NULL THEN\n"
        "                SELECT t.* INTO known FROM waggle.type_versions t WHERE t.name = made.type AND t.place = 1;\n"
        "            END IF;\n"
        "            IF known.name IS NULL AND NOT accepts_unknown THEN\n",
    ),
    ("waggle.schema_errors(known.schema, made.payload, 'payload', known.schema) e LIMIT 1000)", "waggle.version_errors(known, made.payload) e)"),
)


def upgrade() -> None:
    change("task_types or workers", BOTH)
    op.execute(VERSIONS)
    change("task_types", "ALTER TABLE task_types ADD COLUMN backoff json")
    change("workers", "ALTER TABLE workers ADD COLUMN versions text[] NOT NULL DEFAULT '{}'")
    for comment in COMMENTS:
        op.execute(comment)
    op.execute(KNOWN)
    op.execute(VIEW.format(lives=LIVES.format(schema=_schema())))
    for statement in _statements("0021_versions.sql"):
        op.execute(statement)
    for name in ("note_version()", "note_served()", f"version_errors({_schema()}.type_versions, json)"):
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
    change("task_types", ANNOUNCED)
    change("workers", LEFT)
    op.execute(_door(*DOOR))


def downgrade() -> None:
    change("task_types or workers", BOTH)
    op.execute(_door())
    change("workers", "DROP TRIGGER workers_note_served ON workers")
    change("task_types", "DROP TRIGGER task_types_note_version ON task_types")
    op.execute(f"DROP FUNCTION version_errors({_schema()}.type_versions, json)")
    op.execute("DROP FUNCTION note_served, note_version")
    op.execute("DROP VIEW type_versions")
    change("workers", "ALTER TABLE workers DROP COLUMN versions")
    change("task_types", "ALTER TABLE task_types DROP COLUMN backoff")
    op.execute("DROP TABLE task_versions")


def _door(*changes: tuple[str, str]) -> str:
    """The statement that makes the door's function as migration 0019 has it, with these changes."""
    source = resources.files("waggle.store.migrations").joinpath("sql/0019_sql_door.sql").read_text()
    made = next(statement for statement in END.split(source) if "CREATE FUNCTION waggle.accept_v1(" in statement)
    for old, new in changes:
        assert made.count(old) == 1, old
        made = made.replace(old, new)
    return _here(made.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def _statements(name: str) -> list[str]:
    source = resources.files("waggle.store.migrations").joinpath(f"sql/{name}").read_text()
    return [_here(statement) for statement in END.split(source) if statement.strip()]


def _here(statement: str) -> str:
    """With the name of this schema."""
    return re.sub(r"(?<!')\bwaggle\.", f"{_schema()}.", statement.strip())


def _schema() -> str:
    return f'"{context.config.attributes["schema"]}"'
