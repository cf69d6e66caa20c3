"""The SQL door checks formats, the keys of objects and the bytes of base64 texts, as the other doors do (waggle/payloads/formats.py)."""

import re
from importlib import resources

from alembic import context, op

revision = "0022"
down_revision = "0021"

# Formats are patterns and dates here; what these cannot say of a duration is left to the worker, and so is a format that is not ours.
FITS_FORMAT = r"""
CREATE FUNCTION {schema}.fits_format(subject text, format text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    day CONSTANT text := '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}';
    clock CONSTANT text := '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?';
    zone CONSTANT text := '([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])';
    number CONSTANT text := '[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?';
    odd CONSTANT text := '[+-]?([Ii][Nn][Ff]([Ii][Nn][Ii][Tt][Yy])?|[sS]?[nN][aA][nN][0-9]*)';
    pattern CONSTANT text := CASE format
        WHEN 'date' THEN day
        WHEN 'date-time' THEN day || '[Tt ]' || clock || zone
        WHEN 'date-time-local' THEN day || '[Tt ]' || clock
        WHEN 'iso-date-time' THEN day || '[Tt ]' || clock || zone || '?'
        WHEN 'time' THEN clock || zone
        WHEN 'time-local' THEN clock
        WHEN 'iso-time' THEN clock || zone || '?'
        WHEN 'duration' THEN '[+-]?[Pp]([0-9.]+[Dd])?([Tt]([0-9.]+[HhMmSs])+)?'
        WHEN 'uuid' THEN '[0-9a-fA-F]{{32}}|[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}'
        WHEN 'byte' THEN '([A-Za-z0-9+/]{{4}})*([A-Za-z0-9+/]{{2}}==|[A-Za-z0-9+/]{{3}}=)?'
        WHEN 'decimal' THEN '\s*(' || number || '|' || odd || ')\s*'
        WHEN 'decimal-key' THEN '\s*(' || number || '|' || odd || ')\s*'
        WHEN 'float-key' THEN '-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?|' || odd
    END;
BEGIN
    IF format IN ('decimal', 'decimal-key') THEN
        IF subject ~ '[^\u0001-\u007f]' THEN
            RETURN true;  -- Python reads the digits of all scripts
        END IF;
        subject := replace(subject, '_', '');
    END IF;
    IF NOT subject ~ ('^(' || pattern || ')$') THEN
        RETURN false;
    ELSIF strpos(format, 'date') > 0 AND pattern IS NOT NULL THEN
        PERFORM make_date(substr(subject, 1, 4)::integer, substr(subject, 6, 2)::integer, substr(subject, 9, 2)::integer);
    END IF;
    RETURN true;
EXCEPTION WHEN datetime_field_overflow THEN
    RETURN false;
END
$$
"""

# What changes in the check of a schema (see sql/0019_sql_door.sql). Numbers in messages are written as the other doors write them.
CHANGES = (
    (
        "path || ': False schema does not allow the value'",
        "path || CASE WHEN path ~ ']$' THEN ': False schema does not allow the value' ELSE ': is not a field of this payload' END",
    ),
    (
        "    WHEN 'number' THEN\n        number :=",
        """\
        IF (rules -> 'format') IS NOT NULL OR (rules -> 'parsedAs') IS NOT NULL THEN
            RETURN QUERY SELECT path || ': ' || e FROM waggle.text_errors(rules, given #>> '{}', root) e;
        END IF;
    WHEN 'number' THEN
        number :=""",
    ),
    (
        "        FOREACH name IN ARRAY names LOOP\n            rule := rules -> 'properties'",
        """\
        IF (rules -> 'propertyNames') IS NOT NULL THEN
            RETURN QUERY SELECT path || replace(e, 'the value', to_json(n)::text)
                         FROM unnest(names) n, waggle.schema_errors(rules -> 'propertyNames', to_json(n), '', root) e;
        END IF;
        FOREACH name IN ARRAY names LOOP
            rule := rules -> 'properties'""",
    ),
    *(
        (f"of ' || (rules ->> '{bound}')", f"of ' || regexp_replace(rules ->> '{bound}', 'e([0-9])', 'e+\\1')")
        for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    ),
)

TEXT_ERRORS = """
CREATE FUNCTION {schema}.text_errors(rules json, subject text, root json) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
DECLARE
    count CONSTANT integer := length(subject) / 4 * 3 - length(subject) + length(replace(subject, '=', ''));
BEGIN
    IF NOT {schema}.fits_format(subject, rules ->> 'format') THEN
        RETURN NEXT 'the value is not a "' || (rules ->> 'format') || '"';
    END IF;
    IF count < (rules ->> 'minBytes')::integer THEN
        RETURN NEXT 'the value has less than ' || (rules ->> 'minBytes') || ' bytes';
    END IF;
    IF count > (rules ->> 'maxBytes')::integer THEN
        RETURN NEXT 'the value has more than ' || (rules ->> 'maxBytes') || ' bytes';
    END IF;
    IF (rules -> 'parsedAs') IS NOT NULL AND (subject !~ '^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?$'
            OR EXISTS (SELECT FROM {schema}.schema_errors(rules -> 'parsedAs', subject::json, '', root))) THEN
        RETURN NEXT 'the text stands for a number that is not allowed';
    END IF;
END
$$
"""
MADE = ("fits_format(text, text)", "text_errors(json, text, json)")


def schema_errors(*, is_changed: bool) -> str:
    """The check of a schema, as this migration or as 0019 makes it."""
    source = resources.files("waggle.store.migrations").joinpath("sql/0019_sql_door.sql").read_text()
    head = "CREATE FUNCTION waggle.schema_errors("
    found = "CREATE OR REPLACE FUNCTION waggle.schema_errors(" + source.partition(head)[2].partition("\n$$;")[0] + "\n$$"
    for before, after in CHANGES if is_changed else ():
        assert found.count(before) == 1, before
        found = found.replace(before, after)
    return re.sub(r"(?<!')\bwaggle\.", f"{_schema()}.", found)


def upgrade() -> None:
    for statement in (FITS_FORMAT, TEXT_ERRORS):
        op.execute(statement.format(schema=_schema()))
    for name in MADE:
        op.execute(f"REVOKE ALL ON FUNCTION {_schema()}.{name} FROM PUBLIC")
    op.execute(schema_errors(is_changed=True))


def downgrade() -> None:
    op.execute(schema_errors(is_changed=False))
    for name in MADE:
        op.execute(f"DROP FUNCTION {_schema()}.{name}")


def _schema() -> str:
    return f'"{context.config.attributes["schema"]}"'
