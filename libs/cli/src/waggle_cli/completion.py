"""`waggle completion`: the shell's completion of commands, options and, from a running API, of names and ids."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cyclopts import App

Shell = Literal["bash", "zsh", "fish"]


def script(app: "App", shell: Shell) -> int:
    """Print the script that makes a shell complete `waggle`."""
    print(app.generate_completion(prog_name="waggle", shell=shell))
    return 0
