"""Converters and validators of options: from what people type to what the API gets. Errors are reported before anything is sent."""

import difflib
import json
import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn
from uuid import UUID

from cyclopts import Token

from waggle_cli.rest.shapes import PRIORITIES

KEY_LENGTH: Final = 240  # the API accepts 255; a batch appends its number
UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def json_object(_: type, tokens: Sequence[Token]) -> str:
    """The text of a JSON object: the text itself, `@file`, or `-` for standard input. Numbers stay as they were written."""
    from waggle import nesting

    given = tokens[0].value
    source, text = _read(given)
    try:
        nesting.check(text.encode())
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=_not_json)
    except json.JSONDecodeError as error:
        hint = "; in a shell, put it in single quotes" if source == "it" and text[:1] == "{" else ""
        raise ValueError(f"{source} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}") from None
    except RecursionError:
        raise ValueError(f"{source} is nested too deeply: {nesting.LEVELS} levels are allowed") from None
    if not isinstance(value, dict):
        raise ValueError(f'{source} must be a JSON object such as {{"name": "value"}}')
    return text


def _read(given: str) -> tuple[str, str]:
    """The source of a JSON text, and the text."""
    try:
        if given == "-":
            return "standard input", sys.stdin.buffer.read().decode("utf-8-sig")
        if given.startswith("@"):
            return given[1:], Path(given[1:]).read_bytes().decode("utf-8-sig")
        return "it", given.encode().decode()
    except OSError as error:
        raise ValueError(f"cannot read {given[1:]}: {error.strerror}") from None
    except UnicodeError:
        raise ValueError("it is not UTF-8") from None


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def priority(_: type, tokens: Sequence[Token]) -> int:
    """A priority by its name, or by its number 0 to 3."""
    given = tokens[0].value.lower()
    if given in PRIORITIES:
        return PRIORITIES.index(given)
    if given.isdecimal() and int(given) < len(PRIORITIES):
        return int(given)
    near = difflib.get_close_matches(given, PRIORITIES, n=1)
    raise ValueError(f"must be {', '.join(PRIORITIES[:-1])} or {PRIORITIES[-1]}, or 0 to 3" + (f"; did you mean {near[0]}?" if near else ""))


def moment(_: type, tokens: Sequence[Token]) -> str:
    """A point in time in ISO 8601; without an offset, in this machine's time zone."""
    given = tokens[0].value
    try:
        time = datetime.fromisoformat(given)
        found = time.astimezone()
        there_is = time.tzinfo is not None or datetime.fromtimestamp(found.timestamp()) == time  # noqa: DTZ006  # a local time, as it was given
    except (ValueError, OverflowError, OSError):
        raise ValueError("must be a time such as 2030-01-31T18:00 or 2030-01-31T18:00:00Z") from None
    if not there_is:
        raise ValueError(f"there is no {given} in this machine's time zone: the clock is put forward over it; give another time, or an offset such as Z")
    return found.isoformat()


def task_id(_: type, tokens: Sequence[Token]) -> Any:
    """One or several task ids; among several, `-` reads ids from standard input."""
    if _ is str:
        return _uuid(tokens[0].value)
    return [_uuid(given) for token in tokens for given in (sys.stdin.read().split() if token.value == "-" else [token.value])]


def _uuid(given: str) -> str:
    try:
        return str(UUID(given))
    except ValueError:
        raise ValueError(f"{given!r} is not the id of a task; `waggle tasks list` shows them") from None


def seconds(_: type, tokens: Sequence[Token]) -> float:
    """A length of time: seconds, or a number followed by s, m, h or d."""
    given = tokens[0].value.strip()
    number, unit = (given[:-1], UNIT_SECONDS[given[-1:].lower()]) if given[-1:].lower() in UNIT_SECONDS else (given, 1)
    try:
        value = float(number) * unit
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError("must be a number of seconds, 0 or more, or a length such as 15m, 2h or 7d")
    return value


def assignments(_: type, given: Sequence[str] | None) -> None:
    """Validate fields that are set: NAME=VALUE or NAME=@OTHER."""
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals or value == "@":
            raise ValueError(f"{text!r} must be NAME=VALUE, with JSON or a text, or NAME=@OTHER, with the name of another field.")


def payload_changes(given: Sequence[str] | None, drop: Sequence[str] | None) -> dict[str, Any] | None:
    """The changes of a bulk retry as the API expects them. Numbers stay as they were written."""
    if not given and not drop:
        return None
    values = [(name, value) for name, _, value in (text.partition("=") for text in given or ())]
    copied = {name: value[1:] for name, value in values if value.startswith("@")}
    return {"set": {name: _json_or_text(value) for name, value in values if name not in copied}, "copy": copied, "drop": [*(drop or ())]}


def _json_or_text(given: str) -> Any:
    import msgspec

    try:
        msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError):
        return given
    return msgspec.Raw(given.encode())


def file_name(_: type, value: str | None) -> None:
    """Validate a file name; - is standard input."""
    if value not in (None, "-") and Path(value).is_dir():
        raise ValueError("It is a folder.")
    if value not in (None, "-") and not Path(value).exists():
        raise ValueError("There is no such file.")


def header(_: type, value: str | None) -> None:
    """Validate a header value: it must arrive unchanged."""
    if value is not None and not (value and len(value) <= KEY_LENGTH and value.isascii() and value.isprintable() and value == value.strip()):
        raise ValueError(f"Must be 1 to {KEY_LENGTH} printable ASCII characters, without spaces at either end.")
