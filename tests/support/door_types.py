"""Task types whose payloads use most of what a schema can say, and submissions of them, good and bad: each door takes and refuses the same."""

import enum
import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from support.system import Json
from waggle import App, Context

app = App()


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Address:
    street: str
    zip: Annotated[str, Meta(pattern="^[0-9]{5}$")]
    country: str = "DE"


@app.task("door.plain", max_retries=2, timeout=7)
async def plain(**rest: Any) -> None:
    """Takes anything."""


@app.task("door.mail", queue="mail")
async def mail(to: Annotated[str, Meta(min_length=3, max_length=20)], subject: str = "", copies: Annotated[int, Meta(ge=1, le=9)] | None = None) -> None:
    """A payload with limits."""


@app.task("door.rich")
async def rich(
    colour: Colour = Colour.RED,
    address: Address | None = None,
    tags: Annotated[list[Annotated[str, Meta(max_length=4)]], Meta(min_length=1, max_length=3)] | None = None,
    amount: Annotated[float, Meta(gt=0, lt=1000)] = 1.0,
    kind: Literal["a", "b", "c", "d"] = "a",
    pair: tuple[int, str] | None = None,
    scores: dict[str, int] | None = None,
    flag: bool = False,
    even: Annotated[int, Meta(multiple_of=2)] = 0,
) -> None:
    """A payload with everything."""


@app.task("door.forms")
async def forms(
    ctx: Context,
    at: datetime | None = None,
    local: Annotated[datetime, Meta(tz=False)] | None = None,
    day: date | None = None,
    clock: Annotated[time, Meta(tz=True)] | None = None,
    wait: timedelta | None = None,
    ident: UUID | None = None,
    price: Decimal | None = None,
    ratio: float = 0.5,
    data: Annotated[bytes, Meta(min_length=2, max_length=4)] | None = None,
    word: Annotated[str, Meta(pattern=r"^\w+$")] = "a",
    code: Annotated[str, Meta(pattern="^[A-Z]{2}$")] = "AA",
    ages: dict[int, int] | None = None,
    ports: dict[Annotated[int, Meta(ge=1, le=9)], int] | None = None,
    by_id: dict[UUID, int] | None = None,
    by_kind: dict[Literal["a", "b"], int] | None = None,
    by_day: dict[date, Address] | None = None,
    cents: Annotated[float, Meta(multiple_of=0.01)] = 0.0,
    names: set[str] | None = None,
    **others: Any,
) -> None:
    """Texts and keys that stand for something else."""


def _task(type_: str = "door.plain", payload: object = None, **fields: object) -> str:
    return json.dumps({"type": type_, **({} if payload is None else {"payload": payload}), **fields})


LONG = 1 << 20
GOOD: dict[str, str] = {
    "nothing but the type": _task(),
    "an empty payload": _task(payload={}),
    "a payload of null": '{"type": "door.plain", "payload": null}',
    "a payload with spaces, as it was sent": '{"type": "door.plain", "payload": { "b" : 1.50,  "a": [ ] }}',
    "a repeated key": '{"type": "door.plain", "payload": {"a": 1, "a": 2}}',
    "large numbers": '{"type": "door.plain", "payload": {"n": 12345678901234567890123, "m": 1e300, "k": -0.0, "j": 1E-400}}',
    "four hundred digits": '{"type": "door.plain", "payload": {"a": ' + "9" * 400 + "}}",
    "umlauts and a bee": _task(payload={"ä": "🐝"}),
    "escapes": '{"type": "door.plain", "payload": {"a": "\\ud83d\\udc1d \\n \\\\u0000"}}',
    "a depth of forty": '{"type": "door.plain", "payload": ' + '{"a":' * 40 + "1" + "}" * 40 + "}",
    "the largest payload": '{"type": "door.plain", "payload": {"a": "' + "x" * (LONG - 9) + '"}}',
    "every option": _task(
        priority=3,
        description="d",
        metadata={"a": {"b": 1}},
        queue="mail",
        max_retries=0,
        timeout=0.5,
        delay=60,
        unique_key=" key ",
        deadline="2099-01-01T00:00:00Z",
    ),
    "options of null": _task(
        priority=None, description=None, metadata=None, queue=None, max_retries=None, timeout=None, delay=None, unique_key=None, deadline=None, run_at=None
    ),
    **{f"priority {name}": _task(priority=name) for name in (0, 1, 2, "LOW", "medium", "High", "cRITICAL")},
    "the defaults of its type": _task("door.mail", {"to": "you"}),
    "the longest description": _task(description="x" * 4096),
    "the longest unique key": _task(unique_key="k" * 256),
    "the most retries": _task(max_retries=1000),
    "the longest timeout": _task(timeout=604_800),
    "an integral timeout": _task(timeout=3),
    "a delay of nothing": _task(delay=0),
    "a fraction of a second": _task(delay=0.25),
    "a time with an offset": _task(run_at="2098-06-01T12:00:00+05:30"),
    "a time with a fraction": _task(run_at="2098-06-01T12:00:00.123456Z"),
    "a time with a space": _task(run_at="2098-06-01 12:00:00Z"),
    "a time that has passed": _task(run_at="2001-01-01T00:00:00Z"),
    "mail to three": _task("door.mail", {"to": "abc", "copies": None}),
    "mail with copies": _task("door.mail", {"to": "abc", "copies": 9, "subject": "s"}),
    "rich by default": _task("door.rich", {}),
    "rich with all": _task(
        "door.rich",
        {
            "colour": "blue",
            "address": {"street": "s", "zip": "12345"},
            "tags": ["a", "b"],
            "amount": 999.5,
            "kind": "d",
            "pair": [1, "x"],
            "scores": {"a": 1},
            "flag": True,
            "even": 4,
        },
    ),
    **{
        f"forms with {name} {text[:60]}": f'{{"type": "door.forms", "payload": {{"{name}": {text}}}}}'
        for name, text in (
            *(("at", '"2027-01-01T00:00:00"'), ("at", '"2027-01-01 00:00:00.5+0530"'), ("local", '"2027-01-01T00:00:00"'), ("day", '"2028-02-29"')),
            *(("clock", '"12:00:00Z"'), ("wait", '"P1DT2H"'), ("ident", f'"{"0" * 32}"'), ("ident", '"00000000-0000-0000-0000-00000000000A"')),
            *(("price", '"1.10"'), ("price", "1.10"), ("price", '" -1_000.5e3 "'), ("ratio", "1" * 300), ("data", '"AQIDBA=="'), ("data", '"AQI="')),
            *(("word", '"café"'), ("word", '"a\\n"'), ("code", '"AB\\n"'), ("ages", '{"7": 1.0, "-1": 2}'), ("ports", '{"9": 1}'), ("cents", "19.99")),
            *(("by_id", f'{{"{"0" * 32}": 1}}'), ("by_kind", '{"a": 1}'), ("by_day", '{"2027-02-28": {"street": "s", "zip": "12345"}}')),
            *(("names", '["a", "a"]'), ("others", "1"), ("wait", '"-PT0.5S"')),
        )
    },
    "metadata of many kinds": _task(metadata={"n": 1, "t": "x", "l": [1, 2], "b": True, "z": None}),
    "a callback": _task(callback_url="https://example.com/hook?a=1"),
}

MAIL = {"to": "abc"}
BAD: dict[str, str] = {
    "no type": "{}",
    "a type of null": '{"type": null}',
    "a type that is a number": '{"type": 5}',
    "an empty type": _task(""),
    "a type in capitals": _task("Door.Plain"),
    "a type with spaces": _task("door plain"),
    "a type that ends in a dot": _task("door.plain."),
    "a type that is too long": _task("t" * 65),
    "an unknown type": _task("door.nothing"),
    "an unknown queue": _task(queue="nowhere"),
    "an empty queue": _task(queue=""),
    "a queue that is a number": _task(queue=5),
    "an unknown field": _task(colour="red"),
    "a list": "[]",
    "a number": "5",
    "a text": '"x"',
    **{f"a payload that is {name}": f'{{"type": "door.plain", "payload": {text}}}' for name, text in (("a list", "[]"), ("a text", '"x"'), ("a number", "1"))},
    "a payload that is too large": '{"type": "door.plain", "payload": {"a": "' + "x" * LONG + '"}}',
    "metadata that are a list": _task(metadata=[]),
    "metadata that are too large": _task(metadata={"a": "x" * 65_536}),
    **{f"priority {name!r}": _task(priority=name) for name in (-1, 4, 99999999999999999999, 1.5, 1.0, True, "urgent", "", [])},
    **{f"description {name!r}": _task(description=name) for name in (5, [], {})},
    "a description that is too long": _task(description="x" * 4097),
    **{f"max_retries {name!r}": _task(max_retries=name) for name in (-1, 1001, 1.5, 1.0, "3", True)},
    **{f"timeout {name!r}": _task(timeout=name) for name in (0, -1, 604_801, "3", True)},
    **{f"delay {name!r}": _task(delay=name) for name in (-0.5, 31_536_001, "3", [])},
    **{f"unique_key {name!r}": _task(unique_key=name) for name in ("", 5)},
    "a unique key that is too long": _task(unique_key="k" * 257),
    **{
        f"run_at {name!r}": _task(run_at=name)
        for name in ("tomorrow", "2026-01-01", "2098-01-01T00:00:00", "2098-13-01T00:00:00Z", "2098-02-30T00:00:00Z", "infinity", 5, "9999-12-31T23:59:59Z", "")
    },
    "run_at and delay": _task(run_at="2098-01-01T00:00:00Z", delay=1),
    "a deadline that has passed": _task(deadline="2001-01-01T00:00:00Z"),
    "a deadline before its start": _task(deadline="2098-01-01T00:00:00Z", run_at="2098-06-01T00:00:00Z"),
    "a deadline within its delay": _task(deadline="2098-01-01T00:00:00Z", delay=31_536_000, run_at="2098-01-02T00:00:00Z"),
    "U+0000 in the payload": '{"type": "door.plain", "payload": {"a": "\\u0000"}}',
    "U+0000 in a key": '{"type": "door.plain", "payload": {"\\u0000": 1}}',
    "U+0000 in the description": '{"type": "door.plain", "description": "\\u0000"}',
    "U+0000 in the metadata": '{"type": "door.plain", "metadata": {"a": "\\u0000"}}',
    **{
        f"callback_url {name!r}": _task(callback_url=name)
        for name in ("ftp://example.com/", "example.com", "http://", "http:///x", "https://a b", "https://me:secret@example.com/", 5)
    },
    "mail to nobody": _task("door.mail", {}),
    "mail without a payload": _task("door.mail"),
    "mail to a number": _task("door.mail", {"to": 5}),
    "mail to two letters": _task("door.mail", {"to": "ab"}),
    "mail to too many letters": _task("door.mail", {"to": "a" * 21}),
    "mail with no copies": _task("door.mail", {**MAIL, "copies": 0}),
    "mail with half a copy": _task("door.mail", {**MAIL, "copies": 1.5}),
    "mail with a field more": _task("door.mail", {**MAIL, "cc": "x"}),
    "mail with three mistakes": _task("door.mail", {"to": "", "subject": 1, "cc": 2}),
    **{
        f"rich with {name} {json.dumps(value)}": _task("door.rich", {name: value})
        for name, value in (
            ("colour", "green"),
            ("colour", 1),
            ("address", {"street": "s"}),
            ("address", {"street": 1, "zip": "x"}),
            ("address", "home"),
            ("tags", []),
            ("tags", ["a", "b", "c", "d"]),
            ("tags", ["abcde"]),
            ("tags", "a"),
            ("amount", 0),
            ("amount", 1000),
            ("amount", "1"),
            ("kind", "e"),
            ("pair", [1]),
            ("pair", ["x", 1]),
            ("scores", {"a": "x"}),
            ("flag", 1),
            ("flag", "true"),
            ("even", 3),
            ("even", None),
        )
    },
    **{
        f"forms with {name} {text[:60]}": f'{{"type": "door.forms", "payload": {{"{name}": {text}}}}}'
        for name, text in (
            *(("at", '"tomorrow"'), ("at", '"2027-02-30T00:00:00Z"'), ("at", '"0000-01-01T00:00:00Z"'), ("at", '"2027-01-01T24:00:00Z"'), ("at", "5")),
            *(("local", '"2027-01-01T00:00:00Z"'), ("day", '"2027-02-29"'), ("day", '"2027-2-9"'), ("clock", '"12:00:00"'), ("clock", '"12:00Z"')),
            *(("wait", '"P1Y"'), ("wait", '"soon"'), ("ident", '"x"'), ("ident", f'"{{{"0" * 32}}}"'), ("price", '"abc"'), ("price", '""')),
            *(("ratio", "9" * 400), ("data", '"!!"'), ("data", '"AQ=="'), ("data", '"AQIDBAU="'), ("code", '"abc"'), ("ctx", "5"), ("cents", "0.075")),
            *(("ages", '{"a": 1}'), ("ages", '{"07": 1}'), ("ports", '{"0": 1}'), ("ports", '{"a": 1}'), ("by_id", '{"x": 1}'), ("by_kind", '{"c": 1}')),
            *(("by_day", '{"2027-02-30": {"street": "s", "zip": "12345"}}'), ("by_day", '{"2027-02-28": {"street": "s", "zip": "12345", "x": 1}}')),
        )
    },
    "an unknown field of an address": _task("door.rich", {"address": {"street": "s", "zip": "12345", "x": 1}}),
    "many mistakes at once": _task("door.mail", {"to": 5}, priority=9, queue="nowhere", max_retries=-1, timeout="x", colour="red"),
}

UNREADABLE: dict[str, str] = {
    "nothing": "",
    "half an object": '{"type": "door.plain"',
    "a comma too many": '{"type": "door.plain",}',
    "two objects": '{"type": "door.plain"} {"type": "door.plain"}',
    "a number that is too large": '{"type": "door.plain", "payload": {"a": 1e400}}',
    "half a surrogate pair": '{"type": "door.plain", "payload": {"a": "\\ud83d"}}',
    "single quotes": "{'type': 'door.plain'}",
}

assert len(GOOD) + len(BAD) + len(UNREADABLE) >= 120


def facts(task: Json) -> Json:
    """What the doors must agree on, of a task as the API shows it."""
    kept = ("type", "queue", "priority", "description", "payload", "metadata", "max_retries", "timeout", "unique_key", "deadline", "status", "callback_url")
    return {name: task.get(name) for name in kept}
