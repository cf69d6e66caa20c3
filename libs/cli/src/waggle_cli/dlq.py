"""`waggle dlq`: the dead letters, listed, grouped, tried again or removed; without a command it runs the dead letter service."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number

from waggle_cli.parameters import (
    EVERY_DEAD_LETTER,
    EXIT_CODES,
    FIRST_PART,
    WHICH_API,
    All,
    DeadFilter,
    DeadLetterId,
    DeadLetterIds,
    Flag,
    JsonObject,
    Limit,
    Output,
    Part,
    Seconds,
    Url,
    examples,
)

if TYPE_CHECKING:
    from waggle_cli.shapes import Redrive

CLEANUP_SECONDS: Final = 90.0
EPILOGUE: Final = f"""\
A dead letter is a task whose tries are used up, or that can never succeed. It
rests here until somebody tries it again or removes it, or until it was kept
long enough. `waggle dlq` without a command runs the dead letter service.
{WHICH_API.rstrip()}

Examples:
  waggle dlq groups
  waggle dlq list --type email.send --newer-than 1h
  waggle dlq retry --type email.send --dry-run
  waggle dlq retry --type email.send --rate 50

{EXIT_CODES}"""

app = App(
    name="dlq",
    help="The dead letters: list them, group them, try them again, remove them. Without a command: run the dead letter service.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
def run() -> None:
    """Run the dead letter service: it removes what was kept long enough, and tries again what it is told to."""
    from waggle_cli.installed import run_service

    run_service("dlq")


@app.command(
    name="list",
    help_epilogue=examples("waggle dlq list --type email.send --code task_timeout", "waggle dlq list --older-than 7d --all -o jsonl"),
)
def list_(filters: DeadFilter = EVERY_DEAD_LETTER, *, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List dead letters, the last that died first."""
    from waggle_cli import lists, names, task_views
    from waggle_cli.session import Exit, session

    with session("waggle dlq list", url) as api:
        query = filters.query()
        lists.listing(
            *(api, ["dlq"], output, task_views.dead_table),
            query=query,
            most=part.most,
            cursor=part.cursor,
            again=("dlq", "list"),
            empty=lambda: names.no_dead_letters(api, query),
            url=url,
        )
    return Exit.OK


@app.command(name="show", help_epilogue=examples("waggle dlq show ID", "waggle dlq show ID -o json"))
def show_(id_: DeadLetterId, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one dead letter: its payload, its error, and its attempts.

    Parameters
    ----------
    id_
        The task's id.
    """
    from waggle_cli import lists, task_views
    from waggle_cli.session import Exit, session

    with session("waggle dlq show", url) as api:
        lists.one(api.get("dlq", id_), output, lambda task: task_views.card(task, api.attempts(id_).value["items"]))
    return Exit.OK


@app.command(help_epilogue=examples("waggle dlq groups", "waggle dlq groups --newer-than 1h", "waggle dlq retry --fingerprint FINGERPRINT"))
def groups(
    *, filters: DeadFilter = EVERY_DEAD_LETTER, limit: Annotated[Limit, Parameter(show_default=True)] = 20, output: Output = "table", url: Url = ""
) -> int:
    """Group dead letters by what went wrong, the largest group first.

    In a group's message, numbers, ids and quoted texts are left out, so that the same mistake is one group.

    Parameters
    ----------
    limit
        How many groups at most.
    """
    from waggle_cli import lists, names, redrives
    from waggle_cli.session import Exit, session

    with session("waggle dlq groups", url) as api:
        query = filters.query()
        answer = api.get("dlq", "groups", **query, limit=limit)
        lists.whole(answer, output, redrives.group_table, "" if answer.value["items"] else names.no_dead_letters(api, query))
    return Exit.OK


@app.command(
    usage="Usage: waggle dlq retry [OPTIONS] ID...\n       waggle dlq retry [OPTIONS] --type TYPE, --text TEXT, … or --all",
    help_epilogue=examples(
        "waggle dlq retry ID",
        """waggle dlq retry ID --payload '{"to": "the right address"}'""",
        "waggle dlq retry --type email.send --code task_timeout --dry-run",
        "waggle dlq retry --fingerprint FINGERPRINT --rate 50",
        "waggle dlq retry --all --detach",
    ),
)
def retry(
    ids: DeadLetterIds | None = None,
    /,
    *,
    payload: JsonObject = None,
    filters: DeadFilter = EVERY_DEAD_LETTER,
    all_: All = False,
    dry_run: Flag = False,
    rate: Annotated[float | None, Parameter(validator=Number(gt=0), metavar="A-SECOND")] = None,
    limit: Limit | None = None,
    detach: Flag = False,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Try dead letters again: those with these ids, or all that the options describe.

    With ids each is pending again when this command says so. With options it is a bulk retry: the dead letter service works through it at its \
rate, stops when what it tries again fails again at once, and goes on when this command is gone. Ctrl-C only stops looking.

    Parameters
    ----------
    ids
        The ids of dead letters; - reads them from standard input.
    payload
        Another payload for the one dead letter, a JSON object: the text itself, @FILE, or - for standard input. The original one is kept.
    all_
        Every dead letter.
    dry_run
        Only say how many it would be.
    rate
        How many a second at most; else as the service is set.
    limit
        So many at most.
    detach
        Do not wait until the bulk retry has ended.
    """
    from waggle_cli import redrives
    from waggle_cli.session import session

    query = {name: value for name, value in filters.query().items() if value is not None}
    bulk = {**query, "all": all_ or None, "dry_run": dry_run or None, "rate": rate, "limit": limit}
    bulk = {name: value for name, value in bulk.items() if value is not None}
    _check(ids or [], bulk, payload, bool(query) or all_, detach)
    with session("waggle dlq retry", url) as api:
        if ids:
            return redrives.retry_each(api, ids, payload, output)
        return redrives.retry_many(api, bulk, output, detach=detach, url=url)


def _check(ids: list[str], bulk: dict[str, Any], payload: str | None, narrowed: bool, detach: bool) -> None:
    from waggle_cli.session import fail

    if ids and (bulk or detach):
        fail("waggle dlq retry", "give either ids or options that describe dead letters")
    if not ids and not narrowed:
        fail("waggle dlq retry", "say which: ids, options such as --type or --fingerprint, or --all for every dead letter")
    if payload is not None and len(ids) != 1:
        fail("waggle dlq retry", "--payload is for one dead letter: give its id")


@app.command(usage="Usage: waggle dlq remove [OPTIONS] ID...", help_epilogue=examples("waggle dlq remove ID ID"))
def remove(ids: DeadLetterIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Give dead letters up: they become failed, which is final.

    Parameters
    ----------
    ids
        The ids of dead letters; - reads them from standard input.
    """
    from waggle_cli import lists, task_views
    from waggle_cli.session import each, session

    with session("waggle dlq remove", url) as api:
        return each("waggle dlq remove", ids, lambda id_: lists.one(api.delete("dlq", id_), output, lambda task: task_views.line("removed", task)))


@app.command(help_epilogue=examples("waggle dlq cleanup", "waggle dlq cleanup --older-than 30d"))
def cleanup(*, older_than: Seconds = None, output: Output = "table", url: Url = "") -> int:
    """Remove what was kept long enough, now instead of in the next minute: they become failed, which is final.

    Parameters
    ----------
    older_than
        Remove what died so long ago, seconds or a length such as 7d; else by the service's period and size.
    """
    from waggle_cli import lists, show
    from waggle_cli.session import Exit, session
    from waggle_cli.words import count

    body = None if older_than is None else json.dumps({"older_than": older_than}).encode()
    with session("waggle dlq cleanup", url) as api:
        answer = api.post("dlq", "cleanup", body=body, timeout=CLEANUP_SECONDS)
        lists.one(answer, output, lambda done: show.say(f"removed {count(done['cleaned'], 'dead letter')}, {done['remaining']:,} are left"))
    return Exit.OK


@app.command(
    usage="Usage: waggle dlq retries [OPTIONS] [ID]",
    help_epilogue=examples("waggle dlq retries", "waggle dlq retries ID --watch", "waggle dlq retries ID --stop"),
)
def retries(
    id_: Annotated[DeadLetterId | None, Parameter(completer=None)] = None,
    /,
    *,
    watch: Flag = False,
    stop: Flag = False,
    part: Part = FIRST_PART,
    output: Output = "table",
    url: Url = "",
) -> int:
    """List bulk retries, the newest first; or show one, follow it to its end, or stop it.

    Parameters
    ----------
    id_
        The id of a bulk retry.
    watch
        Follow it until it has ended; the exit code is 1 unless it completed.
    stop
        Stop it. What it tried again already stays so.
    """
    from waggle_cli import lists, redrives
    from waggle_cli.session import Exit, fail, session

    if ((watch or stop) and id_ is None) or (watch and stop):
        fail("waggle dlq retries", "give the id of a bulk retry, and either --watch or --stop")
    with session("waggle dlq retries", url) as api:
        if id_ is None:
            lists.listing(
                *(api, ["dlq", "retries"], output, redrives.table),
                query={},
                most=part.most,
                cursor=part.cursor,
                again=("dlq", "retries"),
                empty=lambda: "No bulk retries.",
                url=url,
            )
            return Exit.OK
        if watch:
            return redrives.follow(api, api.get("dlq", "retries", id_), output, url=url)
        lists.one(api.delete("dlq", "retries", id_) if stop else api.get("dlq", "retries", id_), output, _card)
    return Exit.OK


def _card(redrive: "Redrive") -> None:
    from waggle_cli import redrives

    redrives.card(redrive)
