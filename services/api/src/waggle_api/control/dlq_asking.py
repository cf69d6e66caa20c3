"""The dlq service, asked: its refusals become the API's, and when it does not answer, whether something may have been done is told."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from waggle.bus import rpc
from waggle.bus.connection import Bus
from waggle.bus.dlq_commands import Command, Refusal, Refused
from waggle.field_errors import FieldError, Invalid
from waggle_api.refusals import Conflict, NotFound, Unavailable

PATIENCE: Final = 5.0  # seconds
CLEANUP_PATIENCE: Final = 30.0


async def ask(bus: Bus, subject: str, command: Command, seconds: float = PATIENCE) -> bytes:
    """The answer, as JSON. Raises NotFound, Conflict, Invalid or Unavailable."""
    try:
        return await rpc.ask(bus, subject, msgspec.json.encode(command), seconds)
    except rpc.Nobody as nobody:
        raise Unavailable(f"the dlq service cannot be reached ({nobody}): nothing was done") from nobody
    except rpc.Unanswered as unanswered:
        raise Unavailable("the dlq service did not answer in time: it may have been done; look before you repeat it") from unanswered
    except Refused as refused:
        raise _refusal(refused) from refused


def until(now: datetime, seconds: float = PATIENCE) -> datetime:
    """The last moment at which this request is still waited for; `now` by the database's clock."""
    return now + timedelta(seconds=seconds)


def _refusal(refused: Refused) -> Exception:
    match refused.refusal:
        case Refusal.NOT_FOUND:
            return NotFound(refused.detail)
        case Refusal.CONFLICT:
            return Conflict(refused.detail)
        case Refusal.INVALID:
            return Invalid([FieldError("payload", refused.detail)])
        case Refusal.UNREADABLE:
            return Unavailable("the dlq service does not understand this API: they are of different versions; nothing was done")
        case Refusal.TOO_LATE | Refusal.UNKNOWN:
            return Unavailable(refused.detail)
