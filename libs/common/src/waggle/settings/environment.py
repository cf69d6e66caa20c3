"""How a process reads its settings, once, at its start.

An unknown, missing or out-of-range setting stops it with a message that names it; all findings come at once.
"""

from collections.abc import Mapping

from waggle.settings import sources
from waggle.settings.shared import Settings, SettingsError
from waggle.settings.sources import Reading


def gather(environ: Mapping[str, str]) -> Reading:
    """What this environment says, each value with its source, and every finding."""
    return sources.gather(Settings, environ)


def read(environ: Mapping[str, str], otherwise: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; `otherwise` are values for what nobody gives. Raises SettingsError with every finding."""
    reading = gather(environ)
    if otherwise:
        reading = gather({**environ, **{sources.variable(name): value for name, value in otherwise.items() if not reading.gave(name)}})
    if reading.findings:
        raise SettingsError("\n".join(reading.findings))
    return Settings(**reading.values)
