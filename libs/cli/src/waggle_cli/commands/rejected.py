"""`waggle rejected`: what publishers handed over and could not be accepted."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import EXIT_CODES, FIRST_PART, WHICH_API, JsonObject, Output, Part, Url, examples

EPILOGUE: Final = f"""\
A message that could not become a task is kept for a week, as it came and with
the reason. `waggle rejected` without a command is `waggle rejected list`.
{WHICH_API.rstrip()}

Examples:
  waggle rejected
  waggle rejected show 17
  waggle rejected resubmit 17
  waggle rejected resubmit 17 --task @repaired.json

{EXIT_CODES}"""

RejectionId = Annotated[str, Parameter(name="ID")]
RejectionIds = Annotated[list[str], Parameter(name="ID")]

app = App(
    name="rejected",
    help="Submissions over NATS that were not accepted: list, show, resubmit.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle rejected list", "waggle rejected list --publisher shop -o jsonl"))
def list_(*, publisher: str | None = None, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List the submissions that were not accepted, the oldest first.

    Parameters
    ----------
    publisher
        Only those of this publisher.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, rejected

    with session("waggle rejected list", url) as api:
        lists.listing(
            api,
            ["rejected"],
            output,
            rejected.table,
            query={"publisher": publisher},
            most=part.maximum,
            cursor=part.cursor,
            again=("rejected", "list"),
            empty=lambda: "Nothing was rejected.",
            url=url,
        )
    return Exit.OK


@app.command(help_epilogue=examples("waggle rejected show 17", "waggle rejected show 17 -o json | jq -r .body"))
def show(rejection: RejectionId, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one with its reason, its headers and its body.

    Parameters
    ----------
    rejection
        Its id in the list.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, rejected

    with session("waggle rejected show", url) as api:
        lists.one(api.get("rejected", rejection), output, rejected.card)
    return Exit.OK


@app.command(
    usage="Usage: waggle rejected resubmit [OPTIONS] ID...",
    help_epilogue=examples("waggle rejected resubmit 17 18", "waggle rejected resubmit 17 --task @repaired.json"),
)
def resubmit(rejections: RejectionIds, /, *, task: JsonObject = None, output: Output = "table", url: Url = "") -> int:
    """Submit them again, after the reason was repaired. Repeating this creates no second task.

    Parameters
    ----------
    rejections
        Their ids in the list.
    task
        The whole task, instead of the one that came: a JSON object as the REST API takes it, @FILE, or - for standard input. For a single ID.
    """
    from waggle_cli.commands.session import Exit, each, fail, session
    from waggle_cli.views import lists
    from waggle_cli.views.show import say
    from waggle_cli.views.words import plain

    if task is not None and len(rejections) > 1:
        fail("waggle rejected resubmit", "--task is for a single ID")
        return Exit.USAGE

    def one(rejection: str) -> None:
        body = None if task is None else task.encode()
        lists.one(api.post("rejected", rejection, "resubmit", body=body), output, lambda made: say("submitted ", plain(made["id"])))

    with session("waggle rejected resubmit", url) as api:
        return each("waggle rejected resubmit", rejections, one)


@app.command(usage="Usage: waggle rejected discard [OPTIONS] ID...", help_epilogue=examples("waggle rejected discard 17"))
def discard(rejections: RejectionIds, /, *, url: Url = "") -> int:
    """Discard them, for good.

    Parameters
    ----------
    rejections
        Their ids in the list.
    """
    from waggle_cli.commands.session import each, session
    from waggle_cli.views.show import say
    from waggle_cli.views.words import plain

    def one(rejection: str) -> None:
        api.delete("rejected", rejection)
        say("discarded ", plain(rejection))

    with session("waggle rejected discard", url) as api:
        return each("waggle rejected discard", rejections, one)
