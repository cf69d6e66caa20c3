"""A command's talk with the API: it finds the API and, when something goes wrong, ends the command with a message and an exit code."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Final, NoReturn

from waggle_cli.client import Client, Problem, Unreachable, WrongUrl, find


class Exit(IntEnum):
    """The exit codes that scripts rely on."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4


AWAY: Final = (502, 503, 504)


@contextmanager
def session(command: str, url: str) -> Iterator[Client]:
    """The API, for the length of a command. What the client raises ends the command."""
    try:
        with Client(find(url, os.environ, Path.cwd())) as client:
            yield client
    except (WrongUrl, Unreachable, Problem) as error:
        tell(command, error)
        sys.exit(exit_code(error))


def tell(command: str, error: Exception) -> None:
    """What went wrong, on standard error: one line, one more for each field that is wrong, and the error's notes."""
    from waggle_cli.terminal import printable

    lines = [f"{command}: {error}"]
    if isinstance(error, Problem):
        lines += [f"  {field}: {message}" for field, message in error.errors]
        lines += [f"  ({', '.join(part for part in (error.code, f'request {error.request_id}' if error.request_id else '') if part)})"]
    lines += getattr(error, "__notes__", [])
    print("\n".join(printable(line) for line in lines), file=sys.stderr)


def exit_code(error: Exception) -> Exit:
    match error:
        case WrongUrl():
            return Exit.USAGE
        case Unreachable():
            return Exit.UNAVAILABLE
        case Problem(status=404):
            return Exit.NOT_FOUND
        case Problem(status=status) if status in AWAY:
            return Exit.UNAVAILABLE
        case _:
            return Exit.REFUSED


def fail(command: str, message: str, code: Exit = Exit.USAGE) -> NoReturn:
    """End the command with a message."""
    tell(command, ValueError(message))
    sys.exit(code)


def agreed(command: str, question: str, yes: bool) -> None:
    """Go on only when somebody said so: by --yes, or at the terminal."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        fail(command, "nobody is asked where there is no terminal: repeat it with --yes if you mean it")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print("Nothing was done.", file=sys.stderr)
        sys.exit(Exit.REFUSED)


def each(command: str, names: Sequence[str], act: Callable[[str], None]) -> int:
    """Do something to several things. One that is refused does not hold up the others; the exit code is that of the first error."""
    codes: list[int] = []
    for name in names:
        try:
            act(name)
        except Problem as error:
            if exit_code(error) is Exit.UNAVAILABLE:
                raise
            tell(f"{command}: {name}", error)
            codes.append(exit_code(error))
    return codes[0] if codes else Exit.OK
