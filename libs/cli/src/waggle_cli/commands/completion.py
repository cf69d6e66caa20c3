"""`waggle completion`: shell completion of commands and options, and of names and ids from a running API."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cyclopts import App

Shell = Literal["bash", "zsh", "fish"]


def script(app: "App", shell: Shell) -> int:
    """Print the completion script of a shell."""
    print(app.generate_completion(prog_name="waggle", shell=shell))
    return 0
