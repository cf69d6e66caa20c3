"""`waggle audit-log`: who did what. (`waggle audit` checks tasks.)"""

from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import EXIT_CODES, FIRST_PART, WHICH_API, Moment, Output, Part, TableOrJson, Url, examples

EPILOGUE: Final = f"""\
The trail holds every change of users, keys and blocks, every login, and what
operators did to queues, circuit breakers and dead letters. Only admins read it.
`waggle audit-log` without a command is `waggle audit-log list`.
{WHICH_API.rstrip()}

Examples:
  waggle audit-log
  waggle audit-log list --actor user:anna --since 2026-01-31T18:00
  waggle audit-log verify

{EXIT_CODES}"""

app = App(name="audit-log", help="The audit trail: who did what, and whether it was changed.", help_epilogue=EPILOGUE)


@app.default
@app.command(name="list", help_epilogue=examples("waggle audit-log list", "waggle audit-log list --action user.create --all -o jsonl"))
def list_(
    *,
    actor: str | None = None,
    action: str | None = None,
    target: str | None = None,
    since: Moment = None,
    until: Moment = None,
    part: Part = FIRST_PART,
    output: Output = "table",
    url: Url = "",
) -> int:
    """List the audit trail, the newest entry first.

    Parameters
    ----------
    actor
        Only what this user or key did: user:anna, key:b62nQo1mCncr.
    action
        Only acts of this kind, such as user.create.
    target
        Only what was done to this user, key, queue or address.
    since
        Only at this time or later.
    until
        Only before this time.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, trail

    query = {"actor": actor, "action": action, "target": target, "since": since, "until": until}
    with session("waggle audit-log list", url) as api:
        lists.listing(
            api,
            ["audit"],
            output,
            trail.table,
            query=query,
            most=part.maximum,
            cursor=part.cursor,
            again=("audit-log", "list"),
            empty=lambda: "No matching entries." if any(query.values()) else "No entries.",
            url=url,
        )
    return Exit.OK


@app.command(help_epilogue=examples("waggle audit-log verify", "waggle audit-log verify --last-hash 3f…"))
def verify(*, last_hash: Annotated[str | None, Parameter(metavar="HASH")] = None, output: TableOrJson = "table", url: Url = "") -> int:
    """Check that no entry was changed and none is missing. The exit code is 1 if one was.

    That the newest entries were cut off shows only in comparison: keep the last hash that it prints, and give it the next time.

    Parameters
    ----------
    last_hash
        A hash that an earlier check printed, which must still be in the trail.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, trail

    with session("waggle audit-log verify", url) as api:
        answer = api.get("audit", "verify", timeout=600.0)
        lists.one(answer, output, trail.verified)
        if not answer.value["fits"]:
            return Exit.REFUSED
        if last_hash is not None and not any(entry["hash"] == last_hash for page in api.pages("audit", limit=None) for entry in page.value["items"]):
            trail.cut_off(last_hash)
            return Exit.REFUSED
    return Exit.OK
