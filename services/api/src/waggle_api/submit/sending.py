"""The span of a submission: what its tasks are linked to, however long they wait and however often they are tried."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from waggle.store.tasks import NewTask
from waggle.telemetry import traces
from waggle.telemetry.traces import SpanKind, SpanShape, TraceContext


@dataclass
class Sent:
    """The tasks of a submission, once they are known."""

    tasks: Sequence[NewTask] = ()


@contextmanager
def sending(request: TraceContext | None) -> Iterator[Sent]:
    """The block submits tasks. They are created in a span below that of the request, if that is traced."""
    sent = Sent()
    if request is None:
        yield sent
        return
    context, began, error = request.child(), time.time_ns(), None
    try:
        with traces.inside(context):
            yield sent
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        if context.sampled:
            queue = sent.tasks[0].queue if sent.tasks else "unknown"
            traces.record(_shape(queue), context, request, began, _attributes(sent.tasks), error=error)


@cache
def _shape(queue: str) -> SpanShape:
    operation = {"messaging.operation.name": "send", "messaging.operation.type": "send"}
    return SpanShape(f"send {queue}", SpanKind.PRODUCER, {"messaging.system": "waggle", **operation, "messaging.destination.name": queue})


def _attributes(tasks: Sequence[NewTask]) -> dict[str, str | int]:
    if len(tasks) == 1:
        return {"messaging.message.id": str(tasks[0].id), "waggle.task.type": tasks[0].type}
    return {"messaging.batch.message_count": len(tasks)}
