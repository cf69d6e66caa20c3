"""`waggle types`: the task types that workers have announced."""

from typing import Annotated, Final

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
  waggle types check --app shop.tasks:app
  waggle types stub > shop_types.py

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
    """Show one type: the payload that it expects, its versions, and the workers that serve each.

    Parameters
    ----------
    name
        The type's name.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, types

    with session("waggle types show", url) as api:
        lists.one(api.get("types", name), output, types.card)
    return Exit.OK


@app.command(name="stub", help_epilogue=examples("waggle types stub > shop_types.py", "waggle types stub email.send invoice.render > shop_types.py"))
def stub_(*names: TypeName, url: Url = "") -> int:
    """Write the types as a Python module, typed like their payloads: for programs whose handlers are elsewhere.

    Parameters
    ----------
    names
        The types that you want; all of them if you name none.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import show, stub

    with session("waggle types stub", url) as api:
        found = [api.get("types", name).value for name in names] if names else api.get("types").value["items"]
        show.write(stub.module(found).encode())
    return Exit.OK


@app.command(
    name="check",
    help_epilogue=examples(
        "waggle types check --app shop.tasks:app", "waggle types check --app shop.tasks:app -o json | jq '.items[] | select(.problems != [])'"
    ),
)
def check_(*, app: Annotated[str, Parameter(show_default=False, env_var="WAGGLE_APP")], output: Output = "table", url: Url = "") -> int:
    """Compare the handlers of your code with the types that are live and with the tasks that wait.

    It says which payloads of today the code no longer takes. Exit code 1 if there are any: let CI run it before a deployment.

    Parameters
    ----------
    app
        Your handlers, `module:attribute`, found from the current folder (WAGGLE_APP).
    """
    from waggle.settings.shared import SettingsError
    from waggle.user_app import find
    from waggle_cli.commands.session import Exit, fail, session
    from waggle_cli.rest.checking import Checked, check
    from waggle_cli.views import show, types

    try:
        handlers = find(app).handlers
    except SettingsError as error:
        fail("waggle types check", str(error))
    with session("waggle types check", url) as api:
        found = [check(api, handler) for _, handler in sorted(handlers.items())]
    match output:
        case "json":
            show.raw(Checked.as_page(found))
        case "jsonl":
            show.write(b"".join(each.as_json() + b"\n" for each in found))
        case _:
            types.checked(found)
    return Exit.REFUSED if any(each.problems for each in found) else Exit.OK
