"""A command's session with the API: it finds the API and turns errors into a message and an exit code."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Final, NoReturn

from waggle_cli.rest.address import find
from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError, NotSignedIn, Unreachable, WrongUrl


class Exit(IntEnum):
    """The exit codes that scripts rely on."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNAVAILABLE = 4


UNAVAILABLE: Final = (502, 503, 504)


@contextmanager
def session(command: str, url: str) -> Iterator[Api]:
    """A client of the API. What the client raises ends the command."""
    try:
        with Api(find(url, os.environ, Path.cwd())) as client:
            yield client
    except (WrongUrl, NotSignedIn, Unreachable, ApiError) as error:
        print_error(command, error)
        sys.exit(exit_code(error))


def print_error(command: str, error: Exception) -> None:
    """What went wrong, on standard error: one line, one line for each invalid field, and the error's notes."""
    from waggle_cli.views.terminal import printable

    lines = [f"{command}: {error}"]
    if isinstance(error, ApiError):
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
        case ApiError(status=404):
            return Exit.NOT_FOUND
        case ApiError(status=status) if status in UNAVAILABLE:
            return Exit.UNAVAILABLE
        case _:
            return Exit.REFUSED


def fail(command: str, message: str, code: Exit = Exit.USAGE) -> NoReturn:
    """End the command with a message."""
    print_error(command, ValueError(message))
    sys.exit(code)


def confirm(command: str, question: str) -> None:
    """Ask on the terminal, and end the command unless the answer is yes. Without a terminal it needs --yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        fail(command, "there is no terminal to ask on: repeat the command with --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print("Nothing was done.", file=sys.stderr)
        sys.exit(Exit.REFUSED)


def each(command: str, names: Sequence[str], act: Callable[[str], None]) -> int:
    """Act on several names. A refused one does not stop the others; the exit code is that of the first error."""
    codes: list[int] = []
    for name in names:
        try:
            act(name)
        except ApiError as error:
            if exit_code(error) is Exit.UNAVAILABLE:
                raise
            print_error(f"{command}: {name}", error)
            codes.append(exit_code(error))
    return codes[0] if codes else Exit.OK
