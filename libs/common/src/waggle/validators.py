"""Whether a payload fits a version of its task type: the compiled JSON Schema, for those who have only the schema and not the handler."""

import jsonschema_rs
import msgspec
import structlog

log = structlog.get_logger()


def compiled(task_type: str, schema: str) -> jsonschema_rs.Validator | None:
    """The validator of a type's payloads, or None for a schema that cannot be used. Its messages contain no values, and it fetches nothing from the network."""
    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(schema), mask="the value", offline=True)
    except ValueError as error:
        log.warning("unusable schema of a task type; only its workers check payloads", task_type=task_type, error=str(error)[:200])
        return None
