"""Waggle's own version, and the exact ones of libraries whose private parts it uses: each is tested with one version, and another one stops the start."""

from importlib import metadata
from typing import Final

from waggle.settings.shared import SettingsError

WAGGLE_VERSION: Final = metadata.version("waggle")  # of all distributions: each requires the others in exactly this version


class WrongVersion(SettingsError):
    """A library is installed in a version that Waggle was not tested with. Like invalid settings, it ends a service with exit code 2."""


def require(distribution: str, version: str, reason: str) -> None:
    """Check the installed version of a distribution. Raises WrongVersion; `reason` ends the sentence "Waggle needs exactly this version because …"."""
    try:
        found = f"{metadata.version(distribution)} is installed"
    except metadata.PackageNotFoundError:
        found = "is not installed"
    if found != f"{version} is installed":
        raise WrongVersion(f"{distribution} {found}, but Waggle needs exactly {version} because {reason}: run `pip install {distribution}=={version}`")
