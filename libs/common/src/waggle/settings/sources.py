"""Where settings come from: `WAGGLE_…` variables, files with one secret each, and one TOML file.

This module knows no setting by name; it reads the fields that the caller names. A field with `Meta(extra={"secret": True})` is a secret: it may come from
a file, and no message shows it.
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

from waggle.settings.kinds import REFERENCE_FORM, expected, hint

PREFIX: Final = "WAGGLE_"
CONFIG: Final = f"{PREFIX}CONFIG"
FILE_LIMIT_BYTES: Final = 1 << 20  # a device may never end

_ADDRESS: Final = re.compile(r"((?P<scheme>[a-z][a-z0-9+.-]*)://)?((?P<who>.*)@)?(?P<hosts>[^/?@]*)(?P<path>/[^?@]*)?(\?(?P<query>.*))?", re.DOTALL)
_HOST: Final = re.compile(r"(\[[\w:.%]*\]|[\w.-]*)(:\d*)?")
_PASSWORDS: Final = re.compile(r"([^=&]*(?:pass|token|secret|key|options)[^=&]*=)[^&]*", re.IGNORECASE)


class Source(NamedTuple):
    """The origin of a value. `where` is the variable, the file and its key, or the file of the secret."""

    kind: Literal["default", "environment", "file", "secret file"]
    where: str = ""


DEFAULT: Final = Source("default")


@dataclass
class SettingsRead:
    """The settings that were found: values and sources by field; a field that is not set is in neither. `findings` are error messages, one line each."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def source(self, name: str) -> Source:
        return self.sources.get(name, DEFAULT)

    def is_set(self, name: str) -> bool:
        """Whether there is a value, valid or not."""
        return name in self.sources


class UnreadableFile(Exception):
    """A file cannot be used. The message completes "the file …"."""


def gather(fields: Sequence[FieldInfo], environ: Mapping[str, str]) -> SettingsRead:
    """Read these fields from the environment and from the files that it names. A variable overrides the TOML file."""
    reading = SettingsRead()
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


def _take_variables(reading: SettingsRead, types: Mapping[str, object], environ: Mapping[str, str]) -> None:
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


def _take_secret(reading: SettingsRead, types: Mapping[str, object], name: str, path: str, *, both: bool) -> None:
    given = file_variable(name)
    if both:
        reading.findings.append(f"{variable(name)} and {given} are both set; remove one of them")
        return
    source = reading.sources[name] = Source("secret file", _path(path))
    try:
        text = _read(path).rstrip("\r\n")
        if not text:
            raise UnreadableFile("is empty")
        if len(text.splitlines()) > 1:  # the second line would count as part of the address, and messages would show it
            raise UnreadableFile("has more than one line")
    except UnreadableFile as error:
        reading.findings.append(f"{given}={source.where!r}: the file {error}")
        return
    _take(reading, types, name, text, source, f"{given}={source.where!r}")


def _take_file(reading: SettingsRead, types: Mapping[str, object], path: str) -> None:
    try:
        content = tomllib.loads(_read(path))
    except UnreadableFile as error:
        reading.findings.append(f"{CONFIG}={_path(path)!r}: the file {error}")
        return
    except tomllib.TOMLDecodeError as error:
        reading.findings.append(f"{path} is not TOML: {error}")
        return
    except RecursionError:
        reading.findings.append(f"{path} is not TOML: nested too deeply")
        return
    for key, value in content.items():
        if key not in types:
            reading.findings.append(f"{path}: {key} is not a setting{_misplaced(key, value, types)}")
        else:  # also where a variable overrides the value, it must be valid
            taker = SettingsRead(findings=reading.findings) if key in reading.sources else reading
            _take(taker, types, key, value, Source("file", f"{path}: {key}"), _label(path, key, value, types), strict=True)


def _take(reading: SettingsRead, types: Mapping[str, object], name: str, raw: object, source: Source, label: str, *, strict: bool = False) -> None:
    """Keep a valid value; report an invalid one."""
    reading.sources[name] = source
    try:
        reading.values[name] = msgspec.convert(raw, types[name], strict=strict)
    except msgspec.ValidationError as error:
        reading.findings.append(f"{label}: {_expected(types[name], raw, error)}")


def _expected(type_: object, raw: object, error: Exception) -> str:
    if raw == "" and is_secret(type_):
        return "must not be empty"
    words = expected(type_)
    return f"expected {words}{hint(raw) if words == REFERENCE_FORM else ''}" if words else str(error)


def _label(path: str, key: str, value: object, types: Mapping[str, object]) -> str:
    return f"{path}: {key}" if is_secret(types[key]) else f"{path}: {key} = {value!r}"


def _misplaced(key: str, value: object, types: Mapping[str, object]) -> str:
    """A hint for an unknown key of the TOML file."""
    name = key.removesuffix("_file")
    if name != key and name in types and is_secret(types[name]):
        return f"; the variable {file_variable(name)} names the file of a secret"
    if isinstance(value, dict):
        return "; tables are not supported, put every key at the top level" + _near(f"{key}_{next(iter(value), '')}", types)
    return _near(key.lower().removeprefix(PREFIX.lower()), types)


def _only_secrets(name: str, types: Mapping[str, object], files: Iterable[str]) -> str:
    return f"; only secrets can come from files: {', '.join(files)}" if name.endswith("_file") and name.removesuffix("_file") in types else ""


def _near(given: str, known: Mapping[str, object]) -> str:
    """A suggestion of the closest known name. A text in `known` is its spelling."""
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
    """The text of a file. Raises UnreadableFile."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)
        if len(data) > FILE_LIMIT_BYTES:
            raise UnreadableFile(f"has more than {FILE_LIMIT_BYTES} bytes")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UnreadableFile(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise UnreadableFile("is not UTF-8 text") from None


def _path(given: str) -> str:
    """A path for messages. A user may have put the secret itself where its path belongs, so what looks like an address is masked."""
    return masked(given) if "://" in given else given


def masked(text: str) -> str:
    """A secret for messages: an address with `***` in place of its password or NATS token, anything else as `***`."""
    parts = re.split(r",(?=\s*[a-z][a-z0-9+.-]*://)", text) if "://" in text else [text]
    return ",".join(_masked(part.strip()) for part in parts)


def _masked(url: str) -> str:
    match = _ADDRESS.fullmatch(url)
    if not match or not match["scheme"] or (match["who"] is None and not all(map(_HOST.fullmatch, match["hosts"].split(",")))):
        return "***"  # a broken address without an @ may be user:password
    user, colon, _ = (match["who"] or "").partition(":")
    who = "" if match["who"] is None else f"{user}:***@" if colon else "***@" if match["scheme"] in ("nats", "tls") else f"{user}@"
    query = "" if match["query"] is None else "?" + _PASSWORDS.sub(r"\1***", match["query"])
    return f"{match['scheme']}://{who}{match['hosts']}{match['path'] or ''}{query}"
