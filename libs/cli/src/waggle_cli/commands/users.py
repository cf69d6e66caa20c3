"""`waggle users`: people who sign in with a password. Only admins manage them."""

import json
import sys
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import EXIT_CODES, FIRST_PART, WHICH_API, Flag, Output, Part, Url, examples

EPILOGUE: Final = f"""\
A viewer reads, but no payloads; an operator also submits, cancels, works dead
letters and queues, and sees payloads; an admin also manages users and keys.
`waggle users` without a command is `waggle users list`.
{WHICH_API.rstrip()}

Examples:
  waggle users
  waggle users create anna --role operator
  waggle users change anna --role viewer

{EXIT_CODES}"""

Role = Literal["viewer", "operator", "admin"]
UserName = Annotated[str, Parameter(name="NAME")]

app = App(name="users", help="Users: list, create, change, delete.", help_epilogue=EPILOGUE)


@app.default
@app.command(name="list", help_epilogue=examples("waggle users list", "waggle users list --all -o jsonl"))
def list_(*, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List the users by their names."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, users

    with session("waggle users list", url) as api:
        lists.listing(
            api, ["users"], output, users.table, query={}, most=part.maximum, cursor=part.cursor, again=("users", "list"), empty=lambda: "No users.", url=url
        )
    return Exit.OK


@app.command(help_epilogue=examples("waggle users show anna"))
def show(name: UserName, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one user.

    Parameters
    ----------
    name
        The user's name.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, users

    with session("waggle users show", url) as api:
        lists.one(api.get("users", name), output, users.card)
    return Exit.OK


@app.command(help_epilogue=examples("waggle users create anna --role operator", "waggle users create anna --role viewer --password-stdin < password"))
def create(name: UserName, /, *, role: Role, password_stdin: Flag = False, output: Output = "table", url: Url = "") -> int:
    """Create a user. Without --password-stdin a password is made up and printed: the user changes it.

    Parameters
    ----------
    name
        The user's name: lower-case letters, digits and . _ @ + -.
    role
        What the user may do.
    password_stdin
        Read the password from standard input: 12 characters or more.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, users

    password, made_up = _password(read=password_stdin)
    with session("waggle users create", url) as api:
        lists.one(api.post("users", body=json.dumps({"name": name, "role": role, "password": password}).encode()), output, users.card)
        if made_up:
            users.print_password(name, password)
    return Exit.OK


@app.command(help_epilogue=examples("waggle users change anna --role admin", "waggle users change anna --disable", "waggle users change anna --new-password"))
def change(
    name: UserName,
    /,
    *,
    role: Role | None = None,
    disable: Flag = False,
    enable: Flag = False,
    new_password: Flag = False,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Change a user. A new role counts at once; who is disabled, or gets a new password, is signed out everywhere.

    Parameters
    ----------
    name
        The user's name.
    role
        What the user may do.
    disable
        Do not let the user sign in.
    enable
        Let the user sign in again.
    new_password
        Make up a new password, and print it.
    """
    from waggle_cli.commands.session import Exit, fail, session
    from waggle_cli.views import lists, users

    if disable and enable:
        fail("waggle users change", "--disable and --enable exclude each other")
    changes: dict[str, Any] = {"role": role, "disabled": True if disable else False if enable else None}
    if new_password:
        changes["password"], _ = _password(read=False)
    body = {field: value for field, value in changes.items() if value is not None}
    with session("waggle users change", url) as api:
        lists.one(api.patch("users", name, body=json.dumps(body).encode()), output, users.card)
        if new_password:
            users.print_password(name, changes["password"])
    return Exit.OK


@app.command(help_epilogue=examples("waggle users delete anna"))
def delete(name: UserName, /, *, yes: Flag = False, url: Url = "") -> int:
    """Delete a user. On a terminal it asks first; elsewhere it needs --yes.

    Parameters
    ----------
    name
        The user's name.
    yes
        Do not ask.
    """
    from waggle_cli.commands.session import Exit, confirm, session
    from waggle_cli.views.show import say
    from waggle_cli.views.words import plain

    if not yes:
        confirm("waggle users delete", f"Delete the user {name}?")
    with session("waggle users delete", url) as api:
        api.delete("users", name)
        say("deleted ", plain(name))
    return Exit.OK


@app.command(help_epilogue=examples("waggle users password"))
def password(*, url: Url = "") -> int:
    """Change your own password, and sign out everywhere. Both passwords are typed, or are two lines of standard input."""
    from getpass import getpass

    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views.show import say

    old, new = (getpass(text) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n") for text in ("Your password: ", "The new one: "))
    with session("waggle users password", url) as api:
        api.post("auth", "password", body=json.dumps({"password": old, "new_password": new}).encode())
        say("changed; sign in again")
    return Exit.OK


def _password(*, read: bool) -> tuple[str, bool]:
    """A password, and whether it was made up."""
    import secrets

    return (sys.stdin.readline().rstrip("\r\n"), False) if read else (secrets.token_urlsafe(15), True)
