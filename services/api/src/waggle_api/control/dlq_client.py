"""Sends commands to the dlq service. Its refusals become the API's; if it does not answer, the error says whether the command may have been carried out."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from waggle.bus import rpc
from waggle.bus.connection import Bus
from waggle.bus.dlq_commands import CommandRefused, DlqCommand, RefusalCode
from waggle.field_errors import FieldError, Invalid
from waggle_api.refusals import Conflict, NotFound, Unavailable

COMMAND_TIMEOUT_SECONDS: Final = 5.0
CLEANUP_TIMEOUT_SECONDS: Final = 30.0


async def request(bus: Bus, subject: str, command: DlqCommand, seconds: float = COMMAND_TIMEOUT_SECONDS) -> bytes:
    """The answer, as JSON. Raises NotFound, Conflict, Invalid or Unavailable."""
    try:
        return await rpc.request(bus, subject, msgspec.json.encode(command), seconds)
    except rpc.NoResponders as error:
        raise Unavailable(f"the dlq service is not reachable ({error}): nothing was done") from error
    except rpc.NoReply as error:
        raise Unavailable("the dlq service did not answer in time: the command may have been carried out; check before you retry it") from error
    except CommandRefused as refused:
        raise _translated(refused) from refused


def until(now: datetime, seconds: float = COMMAND_TIMEOUT_SECONDS) -> datetime:
    """How long this request waits for its answer; `now` by the database's clock."""
    return now + timedelta(seconds=seconds)


def _translated(refused: CommandRefused) -> Exception:
    match refused.refusal:
        case RefusalCode.NOT_FOUND:
            return NotFound(refused.detail)
        case RefusalCode.CONFLICT:
            return Conflict(refused.detail)
        case RefusalCode.INVALID:
            return Invalid([FieldError("payload", refused.detail)])
        case RefusalCode.UNREADABLE:
            return Unavailable("the dlq service does not understand this API: their versions differ; nothing was done")
        case RefusalCode.TOO_LATE | RefusalCode.UNKNOWN:
            return Unavailable(refused.detail)
