"""How a process reads its settings, once, when it starts.

All services may share one environment, so each process accepts, and checks, the settings of all of them. An unknown, invalid or missing setting stops the
process with a message that names it. One message reports all of them.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from waggle.settings import sources
from waggle.settings.services import declared
from waggle.settings.shared import Settings, SettingsError
from waggle.settings.sources import SettingsRead

AnySettings = TypeVar("AnySettings", bound=Settings)


def gather(environ: Mapping[str, str], kind: type[Settings] = Settings) -> SettingsRead:
    """Every setting of this environment with its source, and every finding. A setting that `kind` requires and that is not set is a finding."""
    reading = sources.gather(list(declared().values()), environ)
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]
    reading.findings += [f"{sources.variable(name)} is missing" for name in required if not reading.is_set(name)]
    return reading


def read(kind: type[AnySettings], environ: Mapping[str, str], otherwise: Mapping[str, str] | None = None) -> AnySettings:
    """The settings of one service. `otherwise` has values for settings that are not set. Raises SettingsError with every finding."""
    reading = gather(environ, kind)
    if otherwise:
        reading = gather({**environ, **{sources.variable(name): value for name, value in otherwise.items() if not reading.is_set(name)}}, kind)
    if reading.findings:
        raise SettingsError("\n".join(reading.findings))
    return kind(**{name: value for name, value in reading.values.items() if name in kind.__struct_fields__})
