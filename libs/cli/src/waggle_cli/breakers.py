"""`waggle breakers`: the circuit breakers of the fleet, and closing one by hand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cyclopts import App, Parameter

from waggle_cli.parameters import EXIT_CODES, WHICH_API, BreakerName, Output, Url, examples

if TYPE_CHECKING:
    from waggle_cli.shapes import Json

EPILOGUE: Final = f"""\
A breaker stands before something that handlers call. When that keeps failing it
opens, and the tasks that need it wait, without losing a try, until it is tried
again. `waggle breakers` without a command is `waggle breakers list`.
{WHICH_API.rstrip()}

Examples:
  waggle breakers
  waggle breakers reset smtp

{EXIT_CODES}"""

app = App(
    name="breakers",
    help="Look at circuit breakers, and reset one.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle breakers list", "waggle breakers list -o jsonl | jq -r 'select(.state == \"open\").name'"))
def list_(*, output: Output = "table", url: Url = "") -> int:
    """List the breakers and how they stand."""
    from waggle_cli import lists
    from waggle_cli.session import Exit, session

    with session("waggle breakers list", url) as api:
        lists.whole(api.get("breakers"), output, _table, "No breakers.")
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle breakers show smtp"))
def show_(name: BreakerName, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one breaker: since when it is open, why, and when it is tried again.

    Parameters
    ----------
    name
        The breaker's name.
    """
    from waggle_cli import lists
    from waggle_cli.session import Exit, session

    with session("waggle breakers show", url) as api:
        lists.one(api.get("breakers", name), output, _card)
    return Exit.OK


@app.command(help_epilogue=examples("waggle breakers reset smtp"))
def reset(name: BreakerName, /, *, output: Output = "table", url: Url = "") -> int:
    """Close a breaker: the tasks that waited for it are tried again when their time comes.

    Parameters
    ----------
    name
        The breaker's name.
    """
    from waggle_cli import lists, show
    from waggle_cli.session import Exit, session
    from waggle_cli.words import plain, status

    with session("waggle breakers reset", url) as api:
        lists.one(api.post("breakers", name, "reset"), output, lambda found: show.say("reset ", plain(found["name"]), "  ", status(found["state"])))
    return Exit.OK


def _table(breakers: "Sequence[Json]") -> None:
    from waggle_cli import show
    from waggle_cli.words import plain, present, relative, status, time

    moment = present()
    rows = [
        {
            "BREAKER": plain(found["name"]),
            "STATE": status(found["state"]),
            "FAILURES": plain(found["failures"]),
            "TRIPS": plain(found["trips"]),
            "TRIED AGAIN": plain(relative(time(found["retry_at"]), moment) if found.get("retry_at") and found["state"] == "open" else ""),
            "ERROR": plain(str(found.get("error", ""))[:120]),
        }
        for found in breakers
    ]
    show.table(rows, spare=("FAILURES", "TRIPS"))


def _card(breaker: "Json") -> None:
    from rich.text import Text

    from waggle_cli import show
    from waggle_cli.words import at, plain, present, status

    moment = present()
    facts = show.fact(
        failures=breaker["failures"],
        trips=breaker["trips"],
        opened=at(breaker.get("opened_at"), moment),
        tried_again=at(breaker.get("retry_at"), moment),
        error=breaker.get("error"),
        updated=at(breaker["updated"], moment),
    )
    show.card(Text.assemble(plain(breaker["name"], "bold"), "  ", status(breaker["state"])), facts)
