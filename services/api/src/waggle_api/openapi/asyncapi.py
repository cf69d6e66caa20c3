"""The AsyncAPI 3 document of the subjects that others may use: `python -m waggle_api.openapi.asyncapi` prints it, docs/asyncapi.json is the copy."""

import inspect
import json
from typing import Any, Final

import msgspec

from waggle.bus import subjects
from waggle.bus.events import CloudEvent, TaskEvent
from waggle.pinned import WAGGLE_VERSION
from waggle.submission import Batch, CreateTask
from waggle.task import QUEUE_PATTERN, TYPE_PATTERN
from waggle_api.http.problems import Problem
from waggle_api.nats.messages import OPTIONS, OWN_KEY, PREFIX
from waggle_api.nats.rejections import Why
from waggle_api.nats.rpc import MaybeTask, OneQueue, OneTask

REF: Final = "#/components/schemas/"
Json = dict[str, Any]

TYPES: Final = (CreateTask, Batch, TaskEvent, CloudEvent, Problem, Why, OneTask, MaybeTask, OneQueue)
REQUESTS: Final = {"submit": CreateTask, "submit_batch": Batch, "get": OneTask, "cancel": OneTask, "stats": OneQueue, "explain": MaybeTask}
PUBLISHER: Final = {"description": f"who hands it over: the name of a publisher, {QUEUE_PATTERN}"}
TYPE: Final = {"description": f"the type of the task, {TYPE_PATTERN}; its dots are part of the subject"}


def document() -> Json:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(TYPES, ref_template=REF + "{name}")
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])  # Python 3.13 does so itself
    channels = {
        "submit": _channel(subjects.submit("{publisher}", "{type}"), ("submission",), publisher=PUBLISHER, type=TYPE),
        "rejected": _channel(subjects.rejected("{publisher}", "{type}"), ("rejection",), publisher=PUBLISHER, type=TYPE),
        "events": _channel(
            "waggle.event.{status}.{id}.{type}",
            ("event", "cloudevent"),
            status={"description": "the new status"},
            id={"description": "the id of the task"},
            type=TYPE,
        ),
        **{f"request_{verb}": _channel(subjects.rpc(verb), (f"request_{verb}",)) for verb in REQUESTS},
        "answers": {"address": None, "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in ("answer", "problem")}},
    }
    operations = {
        "submit": _operation("receive", "submit", "A publisher hands over a task; the APIs ingest it.", ("submission",)),
        "reject": _operation("send", "rejected", "What could not be accepted, with the reason and the original bytes.", ("rejection",)),
        "tell": _operation("send", "events", "A task got another status. A hint: it is published after the commit, at most once.", ("event", "cloudevent")),
        **{
            f"ask_{verb}": {
                **_operation("receive", f"request_{verb}", f"Request and reply, as the REST API: {verb}.", (f"request_{verb}",)),
                "reply": {
                    "address": {"location": "$message.header#/reply", "description": "the inbox of the request"},
                    "channel": {"$ref": "#/channels/answers"},
                    "messages": [{"$ref": f"#/channels/answers/messages/{name}"} for name in ("answer", "problem")],
                },
            }
            for verb in REQUESTS
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Waggle on NATS",
            "version": WAGGLE_VERSION,
            "description": "The subjects that others may use. docs/nats.md and docs/events.md say how.",
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats", "description": "NATS with JetStream, 2.12 or newer"}},
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas, "messages": _messages()},
    }


def _channel(address: str, messages: tuple[str, ...], **parameters: Json) -> Json:
    channel: Json = {"address": address, "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages}}
    return {**channel, "parameters": parameters} if parameters else channel


def _operation(action: str, channel: str, summary: str, messages: tuple[str, ...]) -> Json:
    listed = [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages]
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary, "messages": listed}


def _messages() -> Json:
    options = {name: {"type": "string", "description": f"`{field}` of the task"} for name, field in OPTIONS.items() if name.startswith(PREFIX)}
    keys = {name: {"type": "string", "maxLength": 255, "description": "the idempotency key"} for name in ("Nats-Msg-Id", OWN_KEY)}
    credentials = {name: {"type": "string", "description": "an API key; or as a bearer token"} for name in ("X-API-Key", "Authorization")}
    status = {"Waggle-Status": {"type": "string", "description": "the status that the REST API would answer"}}
    return {
        "submission": _message("A task to create, or its payload where headers say the rest, or a CloudEvent", CreateTask, {**options, **keys}),
        "rejection": _message("The original bytes of a submission; the header says why", None, {"Waggle-Rejection": {"$ref": REF + "Why"}}),
        "event": _message("A task got another status", TaskEvent),
        "cloudevent": _message("The same with WAGGLE_EVENTS_FORMAT=cloudevents", CloudEvent),
        "answer": _message("What the REST API answers", None, status),
        "problem": _message("A refusal", Problem, {**status, "Nats-Service-Error-Code": {"type": "string"}}),
        **{f"request_{verb}": _message(f"The request of `{verb}`", kind, credentials) for verb, kind in REQUESTS.items()},
    }


def _message(summary: str, payload: Any, headers: Json | None = None) -> Json:
    message: Json = {"summary": summary, "payload": {"type": "object"} if payload is None else {"$ref": REF + payload.__name__}}
    return {**message, "headers": {"type": "object", "properties": headers}} if headers else message


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=False))
