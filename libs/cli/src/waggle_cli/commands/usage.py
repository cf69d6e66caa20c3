"""Messages for wrong usage: one line on standard error with the nearest right word, and where the help is."""

import difflib
import shlex
import sys
from typing import TYPE_CHECKING

from waggle_cli.views.terminal import printable

if TYPE_CHECKING:
    from cyclopts import CycloptsError
    from rich.console import Group


def format_error(error: "CycloptsError") -> "Group":
    """Print what is wrong on one line, however wide the terminal is. The returned group prints nothing."""
    from rich.console import Group

    command = " ".join(["waggle", *(error.command_chain or ())])
    print(printable(f"{command}: {_message(error)}"), f"See: {command} --help", sep="\n", file=sys.stderr)
    return Group()


def _message(error: "CycloptsError") -> str:
    """A group such as `waggle queues` also works without a command, so cyclopts reports a misspelt command as an unused argument."""
    from cyclopts import UnusedCliTokensError

    if not isinstance(error, UnusedCliTokensError) or not error.unused_tokens:
        return " ".join(str(error).split())
    commands = [name for name in error.app or () if not name.startswith("-")]
    if not commands:
        return f"too many arguments: {shlex.join(error.unused_tokens)}"
    near = difflib.get_close_matches(error.unused_tokens[0], commands, n=1)
    return f'Unknown command "{error.unused_tokens[0]}".' + (f' Did you mean "{near[0]}"?' if near else "") + f" Available commands: {', '.join(commands)}."
