"""What a caller sees of the changes that a bulk retry makes to payloads: examples beforehand, and the changes afterwards."""

from typing import Final
from uuid import UUID

import msgspec

from waggle import payload_changes, payload_schema
from waggle.field_errors import FieldError
from waggle.payload_changes import PayloadChanges
from waggle.payload_schema import TypeSchema
from waggle.redrive import DeadLetterFilter, Redrive
from waggle.store import catalogue, dead_letters
from waggle.store.client import PooledConnection
from waggle.store.dead_letters import Stored
from waggle_api.resources import Call
from waggle_api.routes.dlq_inputs import ChangedDeadLetter

EXAMPLES: Final = 10


async def examples(call: Call, connection: PooledConnection, wanted: DeadLetterFilter, changes: PayloadChanges) -> list[ChangedDeadLetter]:
    """The first dead letters before and after the changes, in a transaction of the caller."""
    ids = await dead_letters.oldest(connection, wanted, EXAMPLES)
    stored = await dead_letters.payloads(connection, ids)
    schemas = await catalogue.payload_schemas(connection)
    return [_example(call, task_id, stored[task_id], schemas.get(stored[task_id].type, payload_schema.ANY), changes) for task_id in ids]


def shown(call: Call, redrive: Redrive) -> Redrive:
    """A redrive as this caller sees it: the values that it sets are parts of payloads."""
    if redrive.changes is None:
        return redrive
    if not call.caller.sees_payloads:
        return msgspec.structs.replace(redrive, changes=None, first_unfit=None, hidden=["changes", "first_unfit"])
    changes = redrive.changes
    for schema in call.resources.intake.admission.secrets_of(redrive.filter.type):
        changes = payload_changes.without_secrets(changes, schema)
    return msgspec.structs.replace(redrive, changes=changes)


def _example(call: Call, task_id: UUID, stored: Stored, schema: TypeSchema, changes: PayloadChanges) -> ChangedDeadLetter:
    after, errors = payload_schema.changed(changes, stored.payload, schema)
    if not call.caller.sees_payloads:  # errors name fields
        unfit = [FieldError("payload", "does not fit after the changes")] if errors or after is None else []
        return ChangedDeadLetter(task_id, stored.type, errors=unfit, hidden=["before", "after", "errors"] if unfit else ["before", "after"])
    example = ChangedDeadLetter(task_id, stored.type, errors=errors)
    if after is None:
        return msgspec.structs.replace(example, hidden=["before", "after"])
    texts = [stored.payload.encode(), after.encode()]
    if schema.secrets is not None:
        texts = [payload_changes.masked(changes, text.decode(), schema.secrets) for text in texts]
    return msgspec.structs.replace(example, before=msgspec.Raw(texts[0]), after=msgspec.Raw(texts[1]))
