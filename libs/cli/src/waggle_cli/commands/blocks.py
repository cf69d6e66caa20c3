"""`waggle blocks`: addresses that may not sign in."""

import json
from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli.commands import options
from waggle_cli.commands.parameters import EXIT_CODES, FIRST_PART, WHICH_API, Output, Part, Url, examples

EPILOGUE: Final = f"""\
An API blocks an address after repeated failures to sign in. Clients of that
address whose keys work go on.
`waggle blocks` without a command is `waggle blocks list`.
{WHICH_API.rstrip()}

Examples:
  waggle blocks
  waggle blocks add 203.0.113.7 --for 7d
  waggle blocks lift 203.0.113.7

{EXIT_CODES}"""

AddressName = Annotated[str, Parameter(name="ADDRESS")]

app = App(name="blocks", help="Addresses that may not sign in: list, block, lift.", help_epilogue=EPILOGUE)


@app.default
@app.command(name="list", help_epilogue=examples("waggle blocks list"))
def list_(*, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List the addresses that are blocked now."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, trail

    with session("waggle blocks list", url) as api:
        lists.listing(
            api,
            ["blocks"],
            output,
            trail.blocks,
            query={},
            most=part.maximum,
            cursor=part.cursor,
            again=("blocks", "list"),
            empty=lambda: "No address is blocked.",
            url=url,
        )
    return Exit.OK


@app.command(help_epilogue=examples("waggle blocks add 203.0.113.7 --for 7d --reason 'scans the API'"))
def add(
    address: AddressName,
    /,
    *,
    for_: Annotated[float, Parameter(name="--for", converter=options.seconds, metavar="SECONDS")] = 86_400.0,
    reason: str = "",
    output: Output = "table",
    url: Url = "",
) -> int:
    """Block an address; of an IPv6 address its /64 network.

    Parameters
    ----------
    address
        The address.
    for_
        How long: seconds, or a length such as 12h or 7d.
    reason
        Why, for the list and the audit trail.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, trail

    body = {"address": address, "seconds": for_, **({"reason": reason} if reason else {})}
    with session("waggle blocks add", url) as api:
        lists.one(api.post("blocks", body=json.dumps(body).encode()), output, trail.block)
    return Exit.OK


@app.command(help_epilogue=examples("waggle blocks lift 203.0.113.7"))
def lift(address: AddressName, /, *, output: Output = "table", url: Url = "") -> int:
    """Lift a block.

    Parameters
    ----------
    address
        The address, as the list shows it.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists
    from waggle_cli.views.show import say
    from waggle_cli.views.words import plain

    with session("waggle blocks lift", url) as api:
        lists.one(api.delete("blocks", address.partition("/")[0]), output, lambda block: say("lifted ", plain(block["address"])))
    return Exit.OK
