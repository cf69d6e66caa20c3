"""Where settings come from: `WAGGLE_…` variables, files that hold one secret each, one TOML file. Strict, and every finding comes at once.

It knows no setting by name: it reads the fields that it is given. A field with `Meta(extra={"secret": True})` is a secret: it may come from a file, and
no finding shows it.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

PREFIX: Final = "WAGGLE_"
CONFIG: Final = f"{PREFIX}CONFIG"
LARGEST: Final = 1 << 20  # bytes of a file; a device that never ends is no settings

_ADDRESS: Final = re.compile(r"((?P<scheme>[a-z][a-z0-9+.-]*)://)?((?P<who>.*)@)?(?P<hosts>[^/?@]*)(?P<path>/[^?@]*)?(\?(?P<query>.*))?", re.DOTALL)
_HOST: Final = re.compile(r"(\[[\w:.%]*\]|[\w.-]*)(:\d*)?")
_PASSWORDS: Final = re.compile(r"([^=&]*(?:pass|token|secret|key|options)[^=&]*=)[^&]*", re.IGNORECASE)


class Source(NamedTuple):
    """Who gave a value: `where` is the variable, the file and its key, or the secret's file."""

    kind: Literal["default", "environment", "file", "secret file"]
    where: str = ""


DEFAULT: Final = Source("default")


@dataclass
class Reading:
    """What was found: values by field, each with its source; fields that nobody gave are in neither. `findings` are lines for people."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def source(self, name: str) -> Source:
        return self.sources.get(name, DEFAULT)

    def gave(self, name: str) -> bool:
        """Whether somebody gave a value, right or wrong."""
        return name in self.sources


class Unusable(Exception):
    """A file cannot be used; the message says why."""


def gather(fields: Sequence[FieldInfo], environ: Mapping[str, str]) -> Reading:
    """Everything that the environment, and the files that it names, say of these fields; a variable counts more than the TOML file."""
    reading = Reading()
    types = {found.name: found.type for found in fields}
    _take_variables(reading, types, environ)
    if path := environ.get(CONFIG):
        _take_file(reading, types, path)
    return reading


def variable(name: str) -> str:
    """The variable of a field."""
    return PREFIX + name.upper()


def file_variable(name: str) -> str:
    """The variable that names the file of a secret."""
    return f"{variable(name)}_FILE"


def is_secret(type_: object) -> bool:
    """Whether a field of this type is a secret."""
    return any((getattr(meta, "extra", None) or {}).get("secret") for meta in getattr(type_, "__metadata__", ()))


def _take_variables(reading: Reading, types: Mapping[str, object], environ: Mapping[str, str]) -> None:
    files = {file_variable(name): name for name, type_ in types.items() if is_secret(type_)}
    for given, text in sorted(environ.items()):
        name = given.removeprefix(PREFIX).lower()
        if not given.startswith(PREFIX) or given == CONFIG:
            continue
        if given in files:
            _take_secret(reading, types, files[given], text, both=variable(files[given]) in environ)
        elif name in types:
            raw = _listed(text) if _is_list(types[name]) else text
            label = given if is_secret(types[name]) else f"{given}={text!r}"
            _take(reading, types, name, raw, Source("environment", given), label)
        else:
            known = {known.removeprefix(PREFIX).lower(): known for known in (*map(variable, types), *files, CONFIG)}
            reading.findings.append(f"{given} is not a setting{_only_secrets(name, types, files) or _near(name, known)}")


def _take_secret(reading: Reading, types: Mapping[str, object], name: str, path: str, *, both: bool) -> None:
    given = file_variable(name)
    if both:
        reading.findings.append(f"{variable(name)} and {given} are both set: keep one of them")
        return
    source = reading.sources[name] = Source("secret file", _path(path))
    try:
        text = _read(path).rstrip("\r\n")
        if not text:
            raise Unusable("is empty")
        if len(text.splitlines()) > 1:  # what follows the address would be taken for a part of it, and shown
            raise Unusable("has more than one line")
    except Unusable as error:
        reading.findings.append(f"{given}={source.where!r}: the file {error}")
        return
    _take(reading, types, name, text, source, f"{given}={source.where!r}")


def _take_file(reading: Reading, types: Mapping[str, object], path: str) -> None:
    try:
        content = tomllib.loads(_read(path))
    except Unusable as error:
        reading.findings.append(f"{CONFIG}={_path(path)!r}: the file {error}")
        return
    except tomllib.TOMLDecodeError as error:
        reading.findings.append(f"{path} is not TOML: {error}")
        return
    except RecursionError:
        reading.findings.append(f"{path} is not TOML: it is nested too deeply")
        return
    for key, value in content.items():
        if key not in types:
            reading.findings.append(f"{path}: {key} is not a setting{_misplaced(key, value, types)}")
        else:  # where a variable says so already, what stands here must be right all the same
            taker = Reading(findings=reading.findings) if key in reading.sources else reading
            _take(taker, types, key, value, Source("file", f"{path}: {key}"), _label(path, key, value, types), strict=True)


def _take(reading: Reading, types: Mapping[str, object], name: str, raw: object, source: Source, label: str, *, strict: bool = False) -> None:
    """Keep a value that fits its field; otherwise a finding. Either way somebody gave one."""
    reading.sources[name] = source
    try:
        reading.values[name] = msgspec.convert(raw, types[name], strict=strict)
    except msgspec.ValidationError as error:
        reading.findings.append(f"{label}: {'it is empty' if raw == '' and is_secret(types[name]) else error}")


def _label(path: str, key: str, value: object, types: Mapping[str, object]) -> str:
    return f"{path}: {key}" if is_secret(types[key]) else f"{path}: {key} = {value!r}"


def _misplaced(key: str, value: object, types: Mapping[str, object]) -> str:
    """Why a key of the TOML file is none, as far as one can guess."""
    name = key.removesuffix("_file")
    if name != key and name in types and is_secret(types[name]):
        return f"; the variable {file_variable(name)} names the file of a secret"
    if isinstance(value, dict):
        return "; there are no tables, every key stands at the top" + _near(f"{key}_{next(iter(value), '')}", types)
    return _near(key.lower().removeprefix(PREFIX.lower()), types)


def _only_secrets(name: str, types: Mapping[str, object], files: Iterable[str]) -> str:
    return f"; only secrets are read from files: {', '.join(files)}" if name.endswith("_file") and name.removesuffix("_file") in types else ""


def _near(given: str, known: Mapping[str, object]) -> str:
    """A question for the known name that resembles this one; a text in `known` is how it is written."""
    near = difflib.get_close_matches(given, list(known), n=1)
    if not near:
        return ""
    written = known[near[0]]
    return f"; did you mean {written if isinstance(written, str) else near[0]}?"


def _is_list(type_: object) -> bool:
    return get_origin(get_args(type_)[0] if hasattr(type_, "__metadata__") else type_) is tuple


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _read(path: str) -> str:
    """The text of a file. Raises Unusable."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise Unusable(f"has more than {LARGEST} bytes")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise Unusable("is not UTF-8 text") from None


def _path(given: str) -> str:
    """A path to show. People give the secret itself where the name of its file belongs: what looks like an address is shown as one."""
    return masked(given) if "://" in given else given


def masked(text: str) -> str:
    """A secret to show: addresses with `***` for the password (or the token of NATS), anything else as `***` altogether."""
    parts = re.split(r",(?=\s*[a-z][a-z0-9+.-]*://)", text) if "://" in text else [text]
    return ",".join(_masked(part.strip()) for part in parts)


def _masked(url: str) -> str:
    match = _ADDRESS.fullmatch(url)
    if not match or not match["scheme"] or (match["who"] is None and not all(map(_HOST.fullmatch, match["hosts"].split(",")))):
        return "***"  # without an @ a broken address may be user:password
    user, colon, _ = (match["who"] or "").partition(":")
    who = "" if match["who"] is None else f"{user}:***@" if colon else "***@" if match["scheme"] in ("nats", "tls") else f"{user}@"
    query = "" if match["query"] is None else "?" + _PASSWORDS.sub(r"\1***", match["query"])
    return f"{match['scheme']}://{who}{match['hosts']}{match['path'] or ''}{query}"
