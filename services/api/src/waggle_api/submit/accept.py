"""The one way in for new tasks: every entry point translates its request into a submission and calls `accept`."""

import hashlib
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.store.idempotency import Key
from waggle.store.tasks import NewTask
from waggle.submission import Submission
from waggle.telemetry.traces import current
from waggle_api.caller import Caller
from waggle_api.refusals import Conflict
from waggle_api.submit.admission import Admission
from waggle_api.submit.catalogue import Catalogue
from waggle_api.submit.commit import Committer
from waggle_api.submit.insertion import Accepted
from waggle_api.submit.sending import sending

FOREIGN_HOLDER: Final = "a task that this key may not see holds the unique_key"


class Intake:
    """Accepts submissions. `run` is its loop; `drained` returns when everything that was accepted is committed and rung."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, ringer: Ringer, catalogue: Catalogue, *, accept_unknown: bool, callbacks: bool) -> None:
        self.admission = Admission(catalogue, accept_unknown=accept_unknown, callbacks=callbacks)
        self._committer = Committer(pool, bus, ringer, catalogue)

    async def accept(self, submission: Submission, caller: Caller, key: str | None, task_id: UUID | None = None) -> Accepted:
        """Check and commit the tasks of a submission, all or none. `caller` is who submits it, and the owner of its idempotency `key`.

        `task_id` is that of its task, where a submission that is repeated must have the same one.

        Raises Unreadable, Invalid, a Refusal, or one of POSTGRES_OUTAGE or REFUSED.
        """
        request = current()
        with sending(request) as sent:
            tasks = await self.admission.admit(submission, caller)
            if task_id is not None:
                tasks = [msgspec.structs.replace(new, id=task_id) for new in tasks]
            sent.tasks = tasks
            accepted = await self._committer.commit(tasks, None if key is None else _owned_key(submission, caller.name, key, tasks))
        if caller.is_limited and not all(caller.sees(task) for task in accepted.tasks):  # such as one of the same type in another queue
            raise Conflict(FOREIGN_HOLDER if accepted.created == 0 else f"{FOREIGN_HOLDER}; {accepted.created} other tasks of the batch were created")
        return accepted

    async def run(self) -> None:
        await self._committer.run()

    async def drained(self) -> None:
        await self._committer.drained()


def _owned_key(submission: Submission, caller: str, key: str, tasks: list[NewTask]) -> Key:
    kind = b"batch" if submission.is_batch else b"task"
    return Key(caller, key, hashlib.sha256(kind + b"\n" + _canonical(submission.text)).digest(), tuple([new.id for new in tasks]))


def _canonical(text: bytes) -> bytes:
    """One text for all that mean the same, however their JSON is written."""
    return _encode(_decode(text))


def _number(text: str) -> float | Decimal:
    """A number as a double, unless it has digits that a double does not hold."""
    double = float(text)
    if len(text) <= _SURE and "e" not in text and "E" not in text:
        return double
    try:
        exact = Decimal(text)
    except InvalidOperation:  # its exponent has twenty digits: it is zero everywhere
        return double
    return double if Decimal(repr(double)) == exact else exact.normalize(_ALL_DIGITS)


_SURE: Final = 16  # characters: a double holds fifteen digits
_ALL_DIGITS: Final = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)
_decode: Final = msgspec.json.Decoder(float_hook=_number).decode
_encode: Final = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
