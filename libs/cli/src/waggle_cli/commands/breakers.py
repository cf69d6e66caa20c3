"""`waggle breakers`: the circuit breakers that workers share, and closing one by hand."""

from typing import Final

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import EXIT_CODES, WHICH_API, BreakerName, Output, Url, examples

EPILOGUE: Final = f"""\
A circuit breaker protects a service that handlers call. When calls keep
failing it opens: tasks that need the service wait, and lose no try, until a
probe succeeds. `waggle breakers` without a command is `waggle breakers list`.
{WHICH_API.rstrip()}

Examples:
  waggle breakers
  waggle breakers reset smtp

{EXIT_CODES}"""

app = App(
    name="breakers",
    help="List circuit breakers, show one, reset one.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle breakers list", "waggle breakers list -o jsonl | jq -r 'select(.state == \"open\").name'"))
def list_(*, output: Output = "table", url: Url = "") -> int:
    """List the breakers with their states."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import breakers, lists

    with session("waggle breakers list", url) as api:
        lists.whole(api.get("breakers"), output, breakers.table, "No breakers.")
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle breakers show smtp"))
def show_(name: BreakerName, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one breaker: since when it is open, why, and when the next probe is due.

    Parameters
    ----------
    name
        The breaker's name.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import breakers, lists

    with session("waggle breakers show", url) as api:
        lists.one(api.get("breakers", name), output, breakers.card)
    return Exit.OK


@app.command(help_epilogue=examples("waggle breakers reset smtp"))
def reset(name: BreakerName, /, *, output: Output = "table", url: Url = "") -> int:
    """Close a breaker. The tasks that wait for it run again when they are due.

    Parameters
    ----------
    name
        The breaker's name.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, show
    from waggle_cli.views.words import plain, status

    with session("waggle breakers reset", url) as api:
        lists.one(api.post("breakers", name, "reset"), output, lambda found: show.say("reset ", plain(found["name"]), "  ", status(found["state"])))
    return Exit.OK
