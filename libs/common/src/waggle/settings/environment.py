"""How a process reads its settings, once, when it starts.

All services may share one environment. So every value in it is checked, whichever service reads it; an unknown or wrong one, or one that this process
needs and does not find, stops the process with a message that names it. All findings come at once.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from waggle.settings import sources
from waggle.settings.services import declared
from waggle.settings.shared import Settings, SettingsError
from waggle.settings.sources import Reading

AnySettings = TypeVar("AnySettings", bound=Settings)


def gather(environ: Mapping[str, str], kind: type[Settings] = Settings) -> Reading:
    """What this environment says of every setting, each value with its source, and every finding. What `kind` requires must be there."""
    reading = sources.gather(list(declared().values()), environ)
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]
    reading.findings += [f"{sources.variable(name)} is missing" for name in required if not reading.gave(name)]
    return reading


def read(kind: type[AnySettings], environ: Mapping[str, str], otherwise: Mapping[str, str] | None = None) -> AnySettings:
    """The settings of one service. `otherwise` has values for settings that the environment does not give. Raises SettingsError with every finding."""
    reading = gather(environ, kind)
    if otherwise:
        reading = gather({**environ, **{sources.variable(name): value for name, value in otherwise.items() if not reading.gave(name)}}, kind)
    if reading.findings:
        raise SettingsError("\n".join(reading.findings))
    return kind(**{name: value for name, value in reading.values.items() if name in kind.__struct_fields__})
