-- The SQL door: what `waggle.enqueue` and its relatives do. docs/sql.md is for their callers. The checks are those of waggle/submission.py and of the API's
-- admission, in the same words; a test sends the same submissions through both. Each statement here ends with a line `$$;`.

-- A refusal. The class of the code is WG, its number that of the REST API's status.
CREATE FUNCTION waggle.refuse(code text, message text, errors text[] DEFAULT '{}', hint text DEFAULT 'docs/sql.md of Waggle says what each field may be') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF errors = '{}' THEN
        RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
    END IF;
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = array_to_string(errors, E'\n'), HINT = hint;
END
$$;

-- A version 7 UUID (RFC 9562): the time in milliseconds, then random bits.
CREATE FUNCTION waggle.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
                                          placing substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
                                  52, 1), 53, 1), 'hex')::uuid
$$;

-- The kind of a JSON value, as errors name it.
CREATE FUNCTION waggle.json_kind(value json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE json_typeof(value) WHEN 'object' THEN 'object' WHEN 'array' THEN 'array' WHEN 'string' THEN 'str' WHEN 'boolean' THEN 'bool'
                                   WHEN 'null' THEN 'null' ELSE CASE WHEN value::text ~ '[.eE]' THEN 'float' ELSE 'int' END END
$$;

-- A JSON number. What is too small for its kind is zero, a whole number that is too large infinite; `check_text` has refused exponents that are too large.
CREATE FUNCTION waggle.json_number(value json) RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN value::text ~ '[eE]-[0-9]{3,}' THEN 0 WHEN length(value::text) > 300 AND value::text ~ '^-?[0-9]+' THEN 'Infinity' ELSE value::text::double precision END
$$;

-- Whether two JSON values are equal, as JSON Schema compares them: 1 and 1.0 are.
CREATE FUNCTION waggle.json_equal(one json, other json) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN json_typeof(one) <> json_typeof(other) THEN false
                WHEN json_typeof(one) = 'number' THEN waggle.json_number(one) = waggle.json_number(other)
                ELSE one::jsonb = other::jsonb END
$$;

-- A JSON text in which another mark stands for U+0000: Postgres reads no JSON that holds it. `accept_v1` refuses the field that holds the mark.
CREATE FUNCTION waggle.marked(body text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN strpos(body, '\u0000') = 0 THEN body
                ELSE regexp_replace(body, '(?<!\\)((\\\\)*)\\u0000', '\1\\ufdd0waggle-nul', 'g') END
$$;

-- Whether a JSON text can be read as every part of Waggle reads it, beyond what the type json has checked. Raises WG400.
CREATE FUNCTION waggle.check_text(body text) RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    rest text;
    number text;
BEGIN
    IF strpos(lower(body), '\ud') > 0 AND (body ~ '(?<!\\)(\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])'
                                           OR body ~ '(?<!\\u[dD][89abAB][0-9a-fA-F]{2})(?<!\\)(\\\\)*\\u[dD][c-fC-F]') THEN
        PERFORM waggle.refuse('WG400', 'the task is not JSON: it holds half of a surrogate pair');
    END IF;
    IF body !~ '[eE][+]?[0-9]{3}' AND length(body) <= 1024 THEN
        RETURN;
    END IF;
    rest := regexp_replace(body, '"([^"\\]|\\.)*"', '', 'g');
    FOR number IN SELECT m.parts[1] FROM regexp_matches(rest, '(-?[0-9.]+[eE][+]?[0-9]{3,})', 'g') AS m(parts) LOOP
        BEGIN
            PERFORM number::double precision;
        EXCEPTION WHEN numeric_value_out_of_range THEN
            PERFORM waggle.refuse('WG400', 'the task is not JSON: Number out of range');
        END;
    END LOOP;
    rest := translate(regexp_replace(rest, '[^][{}]', '', 'g'), '{}', '[]');
    FOR level IN 1..512 LOOP
        EXIT WHEN rest = '';
        rest := replace(rest, '[]', '');
    END LOOP;
    IF rest <> '' THEN
        PERFORM waggle.refuse('WG400', 'the task is nested too deeply: 512 levels are allowed');
    END IF;
END
$$;

-- What is wrong with a value by a JSON Schema: `path: message`, each. It knows the keywords that handlers' signatures become; others, formats among them,
-- and patterns that Postgres cannot read, are left to the worker.
CREATE FUNCTION waggle.schema_errors(rules json, given json, path text, root json) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
DECLARE
    kind text := json_typeof(given);
    number double precision;
    name text;
    rule json;
    item json;
    fits integer;
    count integer;
    names text[];
BEGIN
    IF json_typeof(rules) = 'boolean' THEN
        IF rules::text = 'false' THEN
            RETURN NEXT path || ': False schema does not allow the value';
        END IF;
        RETURN;
    END IF;
    IF rules ->> '$ref' IS NOT NULL THEN
        rule := root #> string_to_array(ltrim(rules ->> '$ref', '#/'), '/');
        IF rule IS NOT NULL THEN
            RETURN QUERY SELECT waggle.schema_errors(rule, given, path, root);
        END IF;
    END IF;
    IF (rules -> 'type') IS NOT NULL THEN
        names := CASE json_typeof(rules -> 'type') WHEN 'array' THEN ARRAY(SELECT json_array_elements_text(rules -> 'type') ORDER BY 1)
                                                   ELSE ARRAY[rules ->> 'type'] END;
        IF NOT (kind = ANY (names) OR (kind = 'number' AND 'integer' = ANY (names)
                                       AND waggle.json_number(given) = trunc(waggle.json_number(given)))) THEN
            RETURN NEXT path || ': the value is not of type' || CASE WHEN cardinality(names) > 1 THEN 's' ELSE '' END || ' "'
                        || array_to_string(names, '", "') || '"';
        END IF;
    END IF;
    IF (rules -> 'enum') IS NOT NULL AND NOT EXISTS (SELECT FROM json_array_elements(rules -> 'enum') AS x(one) WHERE waggle.json_equal(x.one, given)) THEN
        names := ARRAY(SELECT x.one::text FROM json_array_elements(rules -> 'enum') AS x(one));
        count := cardinality(names);
        RETURN NEXT path || ': the value is not one of ' || CASE count
            WHEN 1 THEN names[1] WHEN 2 THEN names[1] || ' or ' || names[2] WHEN 3 THEN names[1] || ', ' || names[2] || ' or ' || names[3]
            ELSE names[1] || ', ' || names[2] || ' or ' || count - 2 || ' other candidates' END;
    END IF;
    IF (rules -> 'const') IS NOT NULL AND NOT waggle.json_equal(rules -> 'const', given) THEN
        RETURN NEXT path || ': ' || (rules -> 'const')::text || ' was expected';
    END IF;
    FOREACH name IN ARRAY ARRAY['anyOf', 'oneOf'] LOOP
        CONTINUE WHEN (rules -> name) IS NULL;
        fits := 0;
        FOR rule IN SELECT json_array_elements(rules -> name) LOOP
            IF NOT EXISTS (SELECT FROM waggle.schema_errors(rule, given, path, root)) THEN
                fits := fits + 1;
                EXIT WHEN name = 'anyOf';
            END IF;
        END LOOP;
        IF fits = 0 THEN
            RETURN NEXT path || ': the value is not valid under any of the schemas listed in the ''' || name || ''' keyword';
        ELSIF fits > 1 THEN
            RETURN NEXT path || ': the value is valid under more than one of the schemas listed in the ''' || name || ''' keyword';
        END IF;
    END LOOP;
    FOR rule IN SELECT json_array_elements(rules -> 'allOf') LOOP
        RETURN QUERY SELECT waggle.schema_errors(rule, given, path, root);
    END LOOP;
    CASE kind
    WHEN 'string' THEN
        IF (rules ->> 'minLength') IS NOT NULL AND length(given #>> '{}') < (rules ->> 'minLength')::integer THEN
            RETURN NEXT path || ': the value is shorter than ' || waggle.counted((rules ->> 'minLength')::integer, 'character', 'characters');
        END IF;
        IF (rules ->> 'maxLength') IS NOT NULL AND length(given #>> '{}') > (rules ->> 'maxLength')::integer THEN
            RETURN NEXT path || ': the value is longer than ' || waggle.counted((rules ->> 'maxLength')::integer, 'character', 'characters');
        END IF;
        IF (rules ->> 'pattern') IS NOT NULL AND NOT waggle.matches(given #>> '{}', rules ->> 'pattern') THEN
            RETURN NEXT path || ': the value does not match "' || (rules ->> 'pattern') || '"';
        END IF;
    WHEN 'number' THEN
        number := waggle.json_number(given);
        IF number < waggle.json_number(rules -> 'minimum') THEN
            RETURN NEXT path || ': the value is less than the minimum of ' || (rules ->> 'minimum');
        END IF;
        IF number > waggle.json_number(rules -> 'maximum') THEN
            RETURN NEXT path || ': the value is greater than the maximum of ' || (rules ->> 'maximum');
        END IF;
        IF number <= waggle.json_number(rules -> 'exclusiveMinimum') THEN
            RETURN NEXT path || ': the value is less than or equal to the minimum of ' || (rules ->> 'exclusiveMinimum');
        END IF;
        IF number >= waggle.json_number(rules -> 'exclusiveMaximum') THEN
            RETURN NEXT path || ': the value is greater than or equal to the maximum of ' || (rules ->> 'exclusiveMaximum');
        END IF;
        IF (rules -> 'multipleOf') IS NOT NULL AND abs(number) < 1e15 AND mod(number::numeric, (rules ->> 'multipleOf')::numeric) <> 0 THEN
            RETURN NEXT path || ': the value is not a multiple of ' || (rules ->> 'multipleOf');
        END IF;
    WHEN 'array' THEN
        count := json_array_length(given);
        IF count < (rules ->> 'minItems')::integer THEN
            RETURN NEXT path || ': the value has less than ' || waggle.counted((rules ->> 'minItems')::integer, 'item', 'items');
        END IF;
        IF count > (rules ->> 'maxItems')::integer THEN
            RETURN NEXT path || ': the value has more than ' || waggle.counted((rules ->> 'maxItems')::integer, 'item', 'items');
        END IF;
        IF rules ->> 'uniqueItems' = 'true' AND (SELECT count(DISTINCT x.one::jsonb) FROM json_array_elements(given) AS x(one)) < count THEN
            RETURN NEXT path || ': the value has non-unique elements';
        END IF;
        IF (rules -> 'items') IS NOT NULL OR (rules -> 'prefixItems') IS NOT NULL THEN
            fits := 0;
            FOR item IN SELECT json_array_elements(given) LOOP
                rule := coalesce(rules -> 'prefixItems' -> fits, rules -> 'items');
                IF rule IS NOT NULL THEN
                    RETURN QUERY SELECT waggle.schema_errors(rule, item, path || '[' || fits || ']', root);
                END IF;
                fits := fits + 1;
            END LOOP;
        END IF;
    WHEN 'object' THEN
        names := ARRAY(SELECT DISTINCT json_object_keys(given));
        count := cardinality(names);
        FOR name IN SELECT json_array_elements_text(rules -> 'required') LOOP
            IF NOT name = ANY (names) THEN
                RETURN NEXT path || '.' || name || ': is required';
            END IF;
        END LOOP;
        IF count < (rules ->> 'minProperties')::integer THEN
            RETURN NEXT path || ': the value has less than ' || waggle.counted((rules ->> 'minProperties')::integer, 'property', 'properties');
        END IF;
        IF count > (rules ->> 'maxProperties')::integer THEN
            RETURN NEXT path || ': the value has more than ' || waggle.counted((rules ->> 'maxProperties')::integer, 'property', 'properties');
        END IF;
        FOREACH name IN ARRAY names LOOP
            rule := rules -> 'properties' -> name;
            IF rule IS NULL AND json_typeof(rules -> 'additionalProperties') = 'boolean' THEN
                IF rules ->> 'additionalProperties' = 'false' THEN
                    RETURN NEXT path || '.' || name || ': is not a field of this payload';
                END IF;
                CONTINUE;
            END IF;
            rule := coalesce(rule, rules -> 'additionalProperties');
            IF rule IS NOT NULL THEN
                RETURN QUERY SELECT waggle.schema_errors(rule, given -> name, path || '.' || name, root);
            END IF;
        END LOOP;
    ELSE
        NULL;
    END CASE;
END
$$;

CREATE FUNCTION waggle.counted(number integer, one text, many text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT number || ' ' || CASE number WHEN 1 THEN one ELSE many END
$$;

-- Whether a text matches a pattern of JSON Schema; true if Postgres cannot read the pattern.
CREATE FUNCTION waggle.matches(subject text, pattern text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN subject ~ pattern;
EXCEPTION WHEN invalid_regular_expression THEN
    RETURN true;
END
$$;

-- What is wrong with the value of a field of a task, by its kind and limits; null for nothing. `low` and `high` are numbers or lengths.
CREATE FUNCTION waggle.field_error(value json, kind text, low double precision, high double precision, above boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    is_kind text := waggle.json_kind(value);
    number double precision;
BEGIN
    IF value IS NULL OR is_kind = 'null' THEN
        RETURN NULL;
    ELSIF NOT (is_kind = kind OR (kind = 'float' AND is_kind = 'int')) THEN
        RETURN 'expected ' || kind || ', got ' || is_kind;
    ELSIF kind = 'str' THEN
        IF length(value #>> '{}') < low THEN
            RETURN 'expected str of length >= ' || low;
        ELSIF length(value #>> '{}') > high THEN
            RETURN 'expected str of length <= ' || high;
        END IF;
        RETURN NULL;
    END IF;
    number := waggle.json_number(value);
    IF number < low OR (above AND number = low) THEN
        RETURN 'expected ' || kind || CASE WHEN above THEN ' > ' ELSE ' >= ' END || low || CASE kind WHEN 'float' THEN '.0' ELSE '' END;
    ELSIF number > high THEN
        RETURN 'expected ' || kind || ' <= ' || high || CASE kind WHEN 'float' THEN '.0' ELSE '' END;
    END IF;
    RETURN NULL;
END
$$;

-- What is wrong with a time; null for nothing.
CREATE FUNCTION waggle.time_error(value json) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    moment timestamptz;
BEGIN
    IF value IS NULL OR json_typeof(value) = 'null' THEN
        RETURN NULL;
    ELSIF json_typeof(value) <> 'string' THEN
        RETURN 'expected datetime, got ' || waggle.json_kind(value);
    ELSIF value #>> '{}' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}[:][0-9]{2}[:][0-9]{2}([.][0-9]+)?$' THEN
        RETURN 'expected datetime with a timezone component';
    ELSIF value #>> '{}' !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}[:][0-9]{2}[:][0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}[:][0-9]{2})$' THEN
        RETURN 'invalid RFC3339 encoded datetime';
    END IF;
    moment := (value #>> '{}')::timestamptz;
    IF extract(year FROM moment AT TIME ZONE 'UTC') NOT BETWEEN 2 AND 9998 THEN
        RETURN 'is outside the years 2 to 9998';
    END IF;
    RETURN NULL;
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
    RETURN 'invalid RFC3339 encoded datetime';
END
$$;

-- Checks tasks, as the REST API has them, and inserts them: all or none. `kind` and `key_text` are what an idempotency key stands for.
CREATE FUNCTION waggle.accept_v1(tasks json[], kind text, idempotency_key text, key_text text) RETURNS TABLE (id uuid, created boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    fields CONSTANT text[] := ARRAY['type', 'payload', 'priority', 'description', 'metadata', 'queue', 'max_retries', 'timeout', 'deadline', 'run_at', 'delay',
                                    'unique_key', 'callback_url', 'traceparent'];
    by_whom CONSTANT text := 'sql:' || session_user;
    accepts_unknown CONSTANT boolean := current_setting('waggle.unknown_types', true) IS NOT DISTINCT FROM 'accept';
    most CONSTANT integer := cardinality(tasks);
    allowed waggle.publishers;
    known waggle.task_types;
    rows waggle.tasks[] := '{}';
    made waggle.tasks;
    errors text[] := '{}';
    task json;
    prefix text := '';
    name text;
    problem text;
    starts timestamptz;
    soon boolean := false;
    holder record;
    earlier record;
    digest bytea;
    ids uuid[] := '{}';
    news boolean[];
    wanted integer;
BEGIN
    SELECT p.* INTO allowed FROM waggle.publishers p WHERE p.name = session_user;
    IF idempotency_key IS NOT NULL AND (idempotency_key !~ '^[ -~]+$' OR length(idempotency_key) > 255) THEN
        PERFORM waggle.refuse('WG400', 'idempotency_key must have 1 to 255 printable ASCII characters');
    END IF;
    FOR number IN 1..most LOOP
        task := tasks[number];
        IF kind = 'batch' THEN
            prefix := 'tasks[' || number - 1 || '].';
        END IF;
        IF json_typeof(task) <> 'object' THEN
            errors := errors || (prefix || 'type: is required, in an object with the task''s fields: expected object, got ' || waggle.json_kind(task));
            CONTINUE;
        END IF;
        FOR name IN SELECT json_object_keys(task) LOOP
            IF NOT name = ANY (fields) THEN
                errors := errors || (prefix || name || ': is not a field of a task');
            END IF;
        END LOOP;
        IF strpos(task::text, '\ufdd0waggle-nul') > 0 THEN
            FOREACH name IN ARRAY ARRAY['description', 'unique_key', 'payload', 'metadata'] LOOP
                IF strpos((task -> name)::text, '\ufdd0waggle-nul') > 0 THEN
                    errors := errors || (prefix || name || ': the character U+0000 cannot be stored');
                END IF;
            END LOOP;
            CONTINUE WHEN errors <> '{}';
        END IF;
        made := NULL;
        known := NULL;
        problem := NULL;
        IF (task -> 'type') IS NULL THEN
            problem := 'is required';
        ELSIF json_typeof(task -> 'type') <> 'string' THEN
            problem := 'expected str, got ' || waggle.json_kind(task -> 'type');
        ELSIF task ->> 'type' !~ '^[a-z][a-z0-9_-]*([.][a-z0-9_-]+)*$' OR length(task ->> 'type') > 64 THEN
            problem := 'must have at most 64 characters and match ^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$';
        ELSE
            made.type := task ->> 'type';
            IF allowed.types IS NOT NULL AND NOT made.type = ANY (allowed.types) THEN
                PERFORM waggle.refuse('WG403', 'this role is limited to tasks of the types ' || array_to_string(allowed.types, ', '));
            END IF;
            SELECT y.* INTO known FROM waggle.task_types y WHERE y.name = made.type;
            IF NOT FOUND AND NOT accepts_unknown THEN
                problem := 'no worker has announced this type' || waggle.known_names(ARRAY(SELECT y.name FROM waggle.task_types y
                    WHERE (allowed.types IS NULL OR y.name = ANY (allowed.types)) AND (allowed.queues IS NULL OR y.queue = ANY (allowed.queues)) LIMIT 11));
            END IF;
        END IF;
        IF problem IS NOT NULL THEN
            errors := errors || (prefix || 'type: ' || problem);
        END IF;
        made.queue := coalesce(known.queue, 'default');
        IF coalesce(json_typeof(task -> 'queue'), 'null') <> 'null' THEN
            problem := waggle.field_error(task -> 'queue', 'str', 0, 1e9);
            made.queue := task ->> 'queue';
            IF problem IS NULL THEN
                IF allowed.queues IS NOT NULL AND NOT made.queue = ANY (allowed.queues) THEN
                    PERFORM waggle.refuse('WG403', 'this role is limited to the queues ' || array_to_string(allowed.queues, ', '));
                END IF;
                IF NOT EXISTS (SELECT FROM waggle.queues q WHERE q.name = made.queue) THEN
                    problem := 'is not known' || waggle.known_names(ARRAY(SELECT q.name FROM waggle.queues q
                        WHERE allowed.queues IS NULL OR q.name = ANY (allowed.queues) LIMIT 11));
                END IF;
            END IF;
            IF problem IS NOT NULL THEN
                errors := errors || (prefix || 'queue: ' || problem);
            END IF;
        ELSIF allowed.queues IS NOT NULL AND NOT made.queue = ANY (allowed.queues) THEN
            PERFORM waggle.refuse('WG403', 'this role is limited to the queues ' || array_to_string(allowed.queues, ', '));
        END IF;
        made.priority := 1;
        IF coalesce(json_typeof(task -> 'priority'), 'null') <> 'null' THEN
            problem := NULL;
            IF waggle.json_kind(task -> 'priority') = 'str' THEN
                made.priority := array_position(ARRAY['LOW', 'MEDIUM', 'HIGH', 'CRITICAL'], upper(task ->> 'priority')) - 1;
                problem := CASE WHEN made.priority IS NULL THEN 'must be 0 to 3 or one of LOW, MEDIUM, HIGH, CRITICAL' END;
            ELSIF waggle.json_kind(task -> 'priority') = 'int' THEN
                problem := waggle.field_error(task -> 'priority', 'int', 0, 3);
                made.priority := CASE WHEN problem IS NULL THEN (task ->> 'priority')::smallint END;
            ELSE
                problem := 'expected int | str, got ' || waggle.json_kind(task -> 'priority');
            END IF;
            IF problem IS NOT NULL THEN
                errors := errors || (prefix || 'priority: ' || problem);
            END IF;
        END IF;
        FOR name, problem IN VALUES
            ('description', waggle.field_error(task -> 'description', 'str', 0, 4096)),
            ('max_retries', waggle.field_error(task -> 'max_retries', 'int', 0, 1000)),
            ('timeout', waggle.field_error(task -> 'timeout', 'float', 0, 604800, true)),
            ('deadline', waggle.time_error(task -> 'deadline')),
            ('run_at', waggle.time_error(task -> 'run_at')),
            ('delay', waggle.field_error(task -> 'delay', 'float', 0, 31536000)),
            ('unique_key', waggle.field_error(task -> 'unique_key', 'str', 1, 256)),
            ('callback_url', waggle.field_error(task -> 'callback_url', 'str', 1, 2048)),
            ('traceparent', waggle.field_error(task -> 'traceparent', 'str', 0, 1e9))
        LOOP
            IF problem IS NOT NULL THEN
                errors := errors || (prefix || name || ': ' || problem);
                task := (SELECT json_object_agg(key, value) FROM json_each(task) WHERE key <> name);
            END IF;
        END LOOP;
        made.description := coalesce(task ->> 'description', '');
        made.max_retries := coalesce((task ->> 'max_retries')::integer, known.max_retries, 3);
        made.timeout := coalesce(waggle.json_number(nullif(task ->> 'timeout', '')::json), known.timeout, 300);
        made.unique_key := task ->> 'unique_key';
        made.callback_url := task ->> 'callback_url';
        IF made.callback_url IS NOT NULL AND made.callback_url !~* '^https?[:]//[^/?#@\s]+([/?#]\S*)?$' THEN
            errors := errors || (prefix || 'callback_url: must be an http or https address, without user and password');
        END IF;
        made.traceparent := CASE WHEN task ->> 'traceparent' ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' THEN task ->> 'traceparent' END;
        made.run_at := (task ->> 'run_at')::timestamptz;
        made.deadline := (task ->> 'deadline')::timestamptz;
        starts := coalesce(made.run_at, clock_timestamp() + coalesce(waggle.json_number(nullif(task ->> 'delay', '')::json), 0) * interval '1 second');
        IF made.run_at IS NOT NULL AND task ->> 'delay' IS NOT NULL THEN
            errors := errors || (prefix || 'delay: give run_at or delay, not both');
        END IF;
        IF made.deadline <= clock_timestamp() THEN
            errors := errors || (prefix || 'deadline: must be in the future');
        ELSIF made.deadline <= greatest(starts, clock_timestamp()) THEN
            errors := errors || (prefix || 'deadline: must be later than the time at which the task may run');
        END IF;
        made.run_at := starts;
        soon := soon OR starts <= clock_timestamp() + interval '1 second';
        made.payload := CASE WHEN coalesce(json_typeof(task -> 'payload'), 'null') = 'null' THEN '{}' ELSE task -> 'payload' END;
        IF json_typeof(made.payload) <> 'object' THEN
            errors := errors || (prefix || 'payload: must be an object');
        ELSIF octet_length(made.payload::text) > 1048576 THEN
            errors := errors || (prefix || 'payload: has ' || octet_length(made.payload::text) || ' bytes of JSON, 1048576 are allowed');
        ELSIF known.schema IS NOT NULL THEN
            errors := errors || ARRAY(SELECT prefix || e FROM waggle.schema_errors(known.schema, made.payload, 'payload', known.schema) e LIMIT 1000);
        END IF;
        made.metadata := '{}';
        IF coalesce(json_typeof(task -> 'metadata'), 'null') <> 'null' THEN
            IF json_typeof(task -> 'metadata') <> 'object' THEN
                errors := errors || (prefix || 'metadata: must be an object');
            ELSIF octet_length((task -> 'metadata')::text) > 65536 THEN
                errors := errors || (prefix || 'metadata: has ' || octet_length((task -> 'metadata')::text) || ' bytes of JSON, 65536 are allowed');
            ELSIF (task -> 'metadata')::text ~ '[0-9][eE][+-]?[0-9]{4}' THEN
                errors := errors || (prefix || 'metadata: has more than 65536 bytes of JSON once its numbers are written without exponents');
            ELSE
                made.metadata := (task -> 'metadata')::text::jsonb;
            END IF;
        END IF;
        made.id := waggle.new_id();
        rows := rows || made;
        ids := ids || made.id;
        EXIT WHEN cardinality(errors) >= 1000;
    END LOOP;
    IF errors <> '{}' THEN
        wanted := cardinality(errors);
        PERFORM waggle.refuse('WG422', waggle.counted(wanted, 'field is', 'fields are') || ' not valid: ' || errors[1], errors);
    END IF;

    IF idempotency_key IS NOT NULL THEN
        digest := sha256(convert_to(kind || E'\n' || key_text, 'UTF8'));
        INSERT INTO waggle.idempotency_keys AS k (submitter, key, body_hash, task_ids) VALUES (by_whom, idempotency_key, digest, ids) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT k.body_hash, k.task_ids INTO earlier FROM waggle.idempotency_keys k WHERE k.submitter = by_whom AND k.key = idempotency_key;
            IF NOT FOUND THEN
                RAISE serialization_failure USING MESSAGE = 'the idempotency key changed concurrently: repeat the transaction';
            ELSIF earlier.body_hash <> digest THEN
                PERFORM waggle.refuse('WG422', '1 field is not valid: idempotency_key: was used for another request', ARRAY['idempotency_key: was used for another request']);
            ELSIF (SELECT count(*) FROM waggle.tasks t WHERE t.id = ANY (earlier.task_ids)) < cardinality(earlier.task_ids) THEN
                PERFORM waggle.refuse('WG409', 'this idempotency_key was used before, and its tasks have been deleted since');
            END IF;
            RETURN QUERY SELECT u, false FROM unnest(earlier.task_ids) u;
            RETURN;
        END IF;
    END IF;

    news := array_fill(true, ARRAY[most]);
    FOR wanted IN SELECT n FROM generate_series(1, most) n ORDER BY rows[n].type, rows[n].unique_key, n LOOP  -- in one order everywhere: no deadlocks
        made := rows[wanted];
        FOR try IN 1..6 LOOP
            IF try = 6 THEN
                RAISE serialization_failure USING MESSAGE = 'the task that holds this unique_key changed concurrently: repeat the transaction';
            END IF;
            INSERT INTO waggle.tasks AS t (id, type, queue, priority, description, payload, metadata, run_at, deadline, max_retries, timeout, unique_key,
                                           submitted_by, door, traceparent, callback_url)
            VALUES (made.id, made.type, made.queue, made.priority, made.description, made.payload, made.metadata, made.run_at, made.deadline,
                    made.max_retries, made.timeout, made.unique_key, by_whom, 'sql', made.traceparent, made.callback_url)
            ON CONFLICT DO NOTHING;
            EXIT WHEN FOUND;
            SELECT t.id, t.queue INTO holder FROM waggle.tasks t
            WHERE t.type = made.type AND t.unique_key = made.unique_key AND t.unique_key IS NOT NULL AND t.status IN ('pending', 'running');
            IF FOUND THEN
                IF allowed.queues IS NOT NULL AND NOT holder.queue = ANY (allowed.queues) THEN
                    PERFORM waggle.refuse('WG409', 'a task that this role may not see holds the unique_key');
                END IF;
                ids[wanted] := holder.id;
                news[wanted] := false;
                EXIT;
            END IF;
        END LOOP;
    END LOOP;
    IF idempotency_key IS NOT NULL AND false = ANY (news) THEN
        UPDATE waggle.idempotency_keys k SET task_ids = ids WHERE k.submitter = by_whom AND k.key = idempotency_key;
    END IF;
    IF soon THEN
        PERFORM pg_notify('waggle_wake', '');
    END IF;
    RETURN QUERY SELECT ids[n], news[n] FROM generate_series(1, most) n;
END
$$;

CREATE FUNCTION waggle.known_names(names text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN cardinality(names) BETWEEN 1 AND 10 THEN '; known are ' || array_to_string(ARRAY(SELECT n FROM unnest(names) n ORDER BY n COLLATE "C"), ', ')
                ELSE '' END
$$;

CREATE FUNCTION waggle.enqueue(type text, payload text DEFAULT '{}', queue text DEFAULT NULL, priority integer DEFAULT NULL, description text DEFAULT NULL,
    metadata jsonb DEFAULT NULL, run_at timestamptz DEFAULT NULL, delay double precision DEFAULT NULL, deadline timestamptz DEFAULT NULL,
    max_retries integer DEFAULT NULL, timeout double precision DEFAULT NULL, unique_key text DEFAULT NULL, idempotency_key text DEFAULT NULL,
    callback_url text DEFAULT NULL, traceparent text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    body text;
BEGIN
    PERFORM waggle.check_json(payload, 'payload');
    body := '{"type":' || coalesce(to_json(type)::text, 'null') || ',"payload":' || coalesce(payload, 'null') || concat(
        ',"queue":' || to_json(queue)::text, ',"priority":' || priority, ',"description":' || to_json(description)::text, ',"metadata":' || metadata::text,
        ',"run_at":' || to_json(run_at)::text, ',"delay":' || to_json(delay)::text, ',"deadline":' || to_json(deadline)::text,
        ',"max_retries":' || max_retries, ',"timeout":' || to_json(timeout)::text, ',"unique_key":' || to_json(unique_key)::text,
        ',"callback_url":' || to_json(callback_url)::text, ',"traceparent":' || to_json(traceparent)::text) || '}';
    PERFORM waggle.check_text(body);
    body := waggle.marked(body);
    RETURN (SELECT a.id FROM waggle.accept_v1(ARRAY[body::json], 'task', idempotency_key, body) a);
END
$$;

CREATE FUNCTION waggle.check_json(body text, what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM body::json;
EXCEPTION WHEN invalid_text_representation THEN
    PERFORM waggle.refuse('WG400', 'the ' || what || ' is not JSON');
END
$$;

CREATE FUNCTION waggle.enqueue_many(tasks text, idempotency_key text DEFAULT NULL) RETURNS TABLE (id uuid, created boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    body json;
    each json[];
BEGIN
    PERFORM waggle.check_json(tasks, 'list of tasks');
    PERFORM waggle.check_text(tasks);
    body := waggle.marked(tasks)::json;
    IF json_typeof(body) = 'object' AND json_typeof(body -> 'tasks') = 'array' THEN
        body := body -> 'tasks';
    END IF;
    IF json_typeof(body) <> 'array' THEN
        PERFORM waggle.refuse('WG422', '1 field is not valid: tasks: send {"tasks": [...]}, or a list of tasks',
                              ARRAY['tasks: send {"tasks": [...]}, or a list of tasks: expected object | array, got ' || waggle.json_kind(body)]);
    ELSIF json_array_length(body) NOT BETWEEN 1 AND 1000 THEN
        PERFORM waggle.refuse('WG422', '1 field is not valid: tasks: must hold 1 to 1000 tasks',
                              ARRAY['tasks: must hold 1 to 1000 tasks, not ' || json_array_length(body)]);
    END IF;
    SELECT array_agg(e.value ORDER BY e.number) INTO each FROM json_array_elements(body) WITH ORDINALITY AS e(value, number);
    RETURN QUERY SELECT a.id, a.created FROM waggle.accept_v1(each, 'batch', idempotency_key, body::text) a;
END
$$;

-- Cancels a task that has not ended, and says what it was: pending, running or cancelled.
CREATE FUNCTION waggle.cancel(id uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    task record;
    allowed waggle.publishers;
    reason CONSTANT jsonb := jsonb_build_object('code', 'task_cancelled', 'message', 'cancelled on request', 'retryable', false,
                                                'details', jsonb_build_object('by', 'sql:' || session_user));
BEGIN
    SELECT p.* INTO allowed FROM waggle.publishers p WHERE p.name = session_user;
    SELECT t.* INTO task FROM waggle.tasks t WHERE t.id = cancel.id FOR UPDATE;
    IF NOT FOUND OR (allowed.types IS NOT NULL AND NOT task.type = ANY (allowed.types))
                 OR (allowed.queues IS NOT NULL AND NOT task.queue = ANY (allowed.queues)) THEN
        PERFORM waggle.refuse('WG404', 'there is no task with this id');
    ELSIF task.status NOT IN ('pending', 'running', 'cancelled') THEN
        PERFORM waggle.refuse('WG409', 'the task is ' || task.status || ': it can no longer be cancelled');
    ELSIF task.status <> 'cancelled' THEN
        UPDATE waggle.tasks t SET status = 'cancelled', updated = now(), completed_at = now(), error = reason WHERE t.id = cancel.id;
        IF task.status = 'running' THEN
            INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, outcome, error)
            VALUES (cancel.id, task.attempt, task.worker_id, task.started_at, 'cancelled', reason);
        END IF;
    END IF;
    RETURN task.status;
END
$$;

-- Lets a database role use the SQL door, and nothing else of Waggle.
CREATE FUNCTION waggle.allow_enqueue(role regrole) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    door regprocedure;
BEGIN
    EXECUTE 'GRANT USAGE ON SCHEMA waggle_schema TO ' || role;
    FOR door IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'waggle_schema'::regnamespace AND p.proname IN ('enqueue', 'enqueue_many', 'cancel') LOOP
        EXECUTE 'GRANT EXECUTE ON FUNCTION ' || door || ' TO ' || role;
    END LOOP;
END
$$;

-- Whoever moves a task to its end owes a report to its callback: a task of its own, in the same commit. It says no values of the task: who asks for them needs
-- the right to.
CREATE FUNCTION waggle.owe_callback() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deliver waggle.task_types;
BEGIN
    SELECT y.* INTO deliver FROM waggle.task_types y WHERE y.name = 'webhook.deliver';
    INSERT INTO waggle.tasks (id, type, queue, description, payload, max_retries, timeout, submitted_by, door, traceparent, tracestate)
    VALUES (waggle.new_id(), 'webhook.deliver', coalesce(deliver.queue, 'default'), 'reports the end of ' || NEW.id,
            json_build_object('url', NEW.callback_url, 'body', json_build_object(
                'type', 'task.' || NEW.status, 'timestamp', to_json(now() AT TIME ZONE 'UTC') #>> '{}' || 'Z',
                'data', json_strip_nulls(json_build_object('id', NEW.id, 'type', NEW.type, 'queue', NEW.queue, 'status', NEW.status, 'attempt', NEW.attempt,
                    'metadata', NEW.metadata, 'error_code', NEW.error ->> 'code', 'created', to_json(NEW.created AT TIME ZONE 'UTC') #>> '{}' || 'Z')))::text),
            coalesce(deliver.max_retries, 10), coalesce(deliver.timeout, 30), NEW.submitted_by, 'callback', NEW.traceparent, NEW.tracestate);
    RETURN NULL;
END
$$;
