"""`waggle workers`: which workers are alive, and what they serve."""

from typing import Final

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import WHICH_API, Output, Url, examples

EPILOGUE: Final = f"""\
A worker is alive while it renews its lease, which it does every few seconds.
{WHICH_API}
{examples("waggle workers", "waggle workers -o jsonl | jq -r 'select(.alive).id'")}"""

app = App(
    name="workers",
    help="List workers: which are alive, which queues they serve, how many tasks they run.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle workers list"))
def list_(*, output: Output = "table", url: Url = "") -> int:
    """List the workers, newest first."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, workers

    with session("waggle workers", url) as api:
        lists.whole(api.get("workers"), output, workers.table, "No workers. Start one: waggle worker")
    return Exit.OK
