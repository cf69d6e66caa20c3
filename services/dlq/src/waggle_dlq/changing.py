"""The payloads that a redrive changes: each is checked against its type's schema, as at the door, before anything is written for it."""

from typing import Final
from uuid import UUID

from waggle import payload_schema
from waggle.payload_changes import PayloadChanges, Unfit
from waggle.store import catalogue, dead_letters
from waggle.store.client import SingleConnection
from waggle.store.redrives import ChangedPayloads

ERRORS_SHOWN: Final = 5  # of one payload


async def change(changes: PayloadChanges, connection: SingleConnection, ids: list[UUID]) -> ChangedPayloads:
    """The changed payloads of these tasks, and those that do not fit."""
    changed = ChangedPayloads({}, [])
    stored = await dead_letters.payloads(connection, ids)
    schemas = await catalogue.payload_schemas(connection)
    for task_id in ids:
        task = stored[task_id]
        text, errors = payload_schema.changed(changes, task.payload, schemas.get(task.type, payload_schema.ANY))
        if text is None or errors:
            changed.unfit.append(Unfit(task_id, errors[:ERRORS_SHOWN]))
        else:
            changed.texts[task_id] = text
    return changed
