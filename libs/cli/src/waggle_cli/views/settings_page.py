"""docs/settings.md, generated from the declarations of the settings."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from waggle.settings.kinds import kind
from waggle.settings.services import READERS, declared, readers
from waggle.settings.sources import CONFIG, file_variable, is_secret, variable

ABOVE: Final = f"""\
<!-- Made from libs/common/src/waggle/settings/ by `uv run just docs`. A test holds this page against the code. -->

# Settings

A setting comes from the first of these that has it:

1. the environment: the variable `WAGGLE_` and the name of the setting in capitals (`WAGGLE_LEASE=20`). Separate the
   parts of a list with commas;
2. for a secret, the file that its variable with `_FILE` at the end names
   (`WAGGLE_POSTGRES_URL_FILE=/run/secrets/postgres_url`). Line ends after the secret are ignored. Setting both a secret
   and its file is an error;
3. the TOML file that `{CONFIG}` names. No other file is read;
4. the default.

```toml
# waggle.toml, used with WAGGLE_CONFIG=waggle.toml. The keys are the names of the settings, all at the top level.
nats_url = "nats://nats-1:4222,nats://nats-2:4222"
concurrency = 200
queues = ["default", "mail"]
```

All services can share one environment. Each reads the settings that name it in the column "read by". `all` are the
services, `waggle up`, and the commands that reach Postgres and NATS themselves.

A process checks the whole environment when it starts, the settings of other services included. If a name is unknown, a
value is invalid or a file is unreadable, the process reports everything that is wrong and exits with code 2. For an
unknown name it suggests the closest one. `waggle config show` reports the same without starting anything, and shows
where each value comes from. Secrets are never shown.

In Kubernetes set `enableServiceLinks: false`. Otherwise a Kubernetes service called `waggle-api` sets
`WAGGLE_API_PORT=tcp://…` in every pod.
"""
TITLES: Final = ("setting", "variable", "kind", "default", "read by", "meaning")
UNITS: Final = ((86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def page() -> str:
    """The whole page."""
    rows = [_line(TITLES), _line("---" for _ in TITLES), *(_line(_cells(field)) for field in declared().values())]
    return ABOVE + "\n" + "\n".join(rows) + "\n"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _cells(field: msgspec.structs.FieldInfo) -> Iterator[str]:
    description = _description(field.type)
    yield f"`{field.name}`"
    yield f"`{variable(field.name)}`" + (f", `{file_variable(field.name)}`" if is_secret(field.type) else "")
    yield kind(field.type)
    yield "required" if field.required else _default(field.default, description)
    yield _read_by(field.name)
    yield description + (" (secret)" if is_secret(field.type) else "")


def _read_by(name: str) -> str:
    found = readers(name)
    return "all" if len(found) == len(READERS) else ", ".join(found)


def _description(type_: Any) -> str:
    return next(str(meta.description) for meta in reversed(type_.__metadata__) if meta.description)


def _default(value: Any, description: str) -> str:
    """The default as one writes it; long times also in a readable unit."""
    if value in ("", (), None):
        return ""
    text = f"`{value:.15g}`" if isinstance(value, float) else f"`{value}`"
    scale = 1 if description.startswith("milliseconds") else 1000 if description.startswith("seconds") else 0
    size, unit = next(((size, unit) for size, unit in UNITS if value * scale >= 2 * size), (0, "")) if scale else (0, "")
    return f"{text} ({value * scale / size:g} {unit})" if size and value * scale >= 120_000 else text
