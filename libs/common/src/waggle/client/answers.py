"""What the client reads of the API's answers."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from waggle.errors import ShownError
from waggle.task import Priority, Status

ABSENT: Final = msgspec.Raw(b"null")


class TaskSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it was when the API answered (docs/api.md). Times are UTC; `timeout` is in seconds; lists leave out the payload.

    `result_json` is the result as the handler's process wrote it. `hidden` names what this key may not see.
    """

    id: UUID
    type: str
    status: Status
    priority: Priority
    description: str
    created: datetime
    updated: datetime
    retry_count: int
    max_retries: int
    metadata: dict[str, Any]
    queue: str
    run_at: datetime
    attempt: int
    timeout: float
    completed_at: datetime | None = None
    deadline: datetime | None = None
    error: ShownError | None = None
    result_json: msgspec.Raw = msgspec.field(name="result", default=ABSENT)
    payload: dict[str, Any] | None = None
    original_payload: dict[str, Any] | None = None
    started_at: datetime | None = None
    worker_id: str | None = None
    unique_key: str | None = None
    lost_count: int = 0
    hidden: list[str] = []
    trace_id: str | None = None
    trace_url: str | None = None
    callback_url: str | None = None

    @property
    def result(self) -> Any:
        """The result as JSON has it; None while there is none."""
        return msgspec.json.decode(self.result_json)


class OnlyId(msgspec.Struct):
    """A task that was created, of which a handle needs no more."""

    id: UUID


class CreatedPage(msgspec.Struct):
    """Tasks that were created together, in their order."""

    items: list[OnlyId]


class ItemPage(msgspec.Struct):
    """A page of a list: its items as they came, and where the next page begins."""

    items: list[msgspec.Raw]
    next_cursor: str | None = None


read_id: Final = msgspec.json.Decoder(OnlyId).decode
read_ids: Final = msgspec.json.Decoder(CreatedPage).decode
read_task: Final = msgspec.json.Decoder(TaskSnapshot).decode
read_page: Final = msgspec.json.Decoder(ItemPage).decode
