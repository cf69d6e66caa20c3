"""`waggle login` and `waggle logout`: who a person is, for the commands that follow."""

import sys

from waggle_cli.commands.session import Exit, fail, session


def login(name: str, url: str, *, from_stdin: bool) -> int:
    """Sign in with a password that is typed, or read from standard input."""
    from getpass import getpass

    from waggle_cli.views.show import say
    from waggle_cli.views.words import plain

    if not from_stdin and not sys.stdin.isatty():
        fail("waggle login", "there is no terminal to type a password on: give it on standard input with --password-stdin")
    password = sys.stdin.readline().rstrip("\r\n") if from_stdin else getpass(f"Password of {name}: ")
    with session("waggle login", url) as api:
        api.sign_in(name, password)
        say("signed in as ", plain(name))
    return Exit.OK


def logout(url: str, *, everywhere: bool) -> int:
    """End the login that this command line keeps."""
    from waggle_cli.views.show import say

    with session("waggle logout", url) as api:
        api.sign_out(everywhere=everywhere)
        say("signed out everywhere" if everywhere else "signed out")
    return Exit.OK
