"""`waggle types`: the task types that workers have announced."""

from typing import Final

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import EXIT_CODES, WHICH_API, Output, TypeName, Url, examples

EPILOGUE: Final = f"""\
A task's type names its handler. A worker announces the types of its handlers
when it starts, with the schema of their payloads. `waggle types` without a
command is `waggle types list`.
{WHICH_API.rstrip()}

Examples:
  waggle types
  waggle types show demo.echo

{EXIT_CODES}"""

app = App(
    name="types",
    help="Show the task types: their defaults, and the payload that each expects.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
@app.command(name="list", help_epilogue=examples("waggle types list", "waggle types list -o jsonl | jq -r .name"))
def list_(*, output: Output = "table", url: Url = "") -> int:
    """List the task types with their defaults."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, types

    with session("waggle types list", url) as api:
        lists.whole(api.get("types"), output, types.table, "No types. A worker announces its types when it starts: waggle worker")
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle types show demo.echo", "waggle types show demo.echo -o json | jq .schema"))
def show_(name: TypeName, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one type, with the payload that it expects.

    Parameters
    ----------
    name
        The type's name.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.rest.shapes import Reply
    from waggle_cli.rest.watching import raw_items
    from waggle_cli.views import lists, names, types

    with session("waggle types show", url) as api:
        answer = api.get("types")
        found = {item["name"]: Reply(200, raw, item) for item, raw in zip(answer.value["items"], raw_items(answer), strict=True)}
        if name not in found:
            names.no_such("type", name, found)
        lists.one(found[name], output, types.card)
    return Exit.OK
