"""The exact versions of libraries whose private parts Waggle uses: each such part is tested with one version, and another one stops the start."""

from importlib import metadata

from waggle.settings.shared import SettingsError


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
