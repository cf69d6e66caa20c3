"""`waggle dlq`: list, group, retry and remove dead letters; without a command it runs the dead letter service."""

import json
from typing import Annotated, Any, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number

from waggle_cli.commands.parameters import (
    EVERY_DEAD_LETTER,
    EXIT_CODES,
    FIRST_PART,
    WHICH_API,
    All,
    DeadFilter,
    DeadLetterId,
    DeadLetterIds,
    DropFields,
    Flag,
    JsonObject,
    Limit,
    Output,
    Part,
    Seconds,
    SetFields,
    Url,
    examples,
)

CLEANUP_SECONDS: Final = 90.0
EPILOGUE: Final = f"""\
A dead letter is a task that used up its tries, or that can never succeed. It
stays in the dead letter queue (DLQ) until it is retried, removed, or expired.
`waggle dlq` without a command runs the dead letter service.
{WHICH_API.rstrip()}

Examples:
  waggle dlq groups
  waggle dlq list --type email.send --newer-than 1h
  waggle dlq retry --type email.send --dry-run
  waggle dlq retry --type email.send --rate 50

{EXIT_CODES}"""

app = App(
    name="dlq",
    help="List, group, retry and remove dead letters. Without a command: run the dead letter service.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)


@app.default
def run() -> None:
    """Run the dead letter service: retries, bulk retries, and the cleanup of expired dead letters."""
    from waggle_cli.commands.installed import run_service

    run_service("dlq")


@app.command(
    name="list",
    help_epilogue=examples("waggle dlq list --type email.send --code task_timeout", "waggle dlq list --older-than 7d --all -o jsonl"),
)
def list_(filters: DeadFilter = EVERY_DEAD_LETTER, *, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List dead letters, latest first."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, names, tasks

    with session("waggle dlq list", url) as api:
        query = filters.query()
        lists.listing(
            *(api, ["dlq"], output, tasks.dead_table),
            query=query,
            most=part.maximum,
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
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, tasks

    with session("waggle dlq show", url) as api:
        lists.one(api.get("dlq", id_), output, lambda task: tasks.card(task, api.timeline(task)))
    return Exit.OK


@app.command(help_epilogue=examples("waggle dlq groups", "waggle dlq groups --newer-than 1h", "waggle dlq retry --fingerprint FINGERPRINT"))
def groups(
    *, filters: DeadFilter = EVERY_DEAD_LETTER, limit: Annotated[Limit, Parameter(show_default=True)] = 20, output: Output = "table", url: Url = ""
) -> int:
    """Group dead letters by what went wrong, largest group first.

    Numbers, ids and quoted texts are left out of a group's message, so that one mistake is one group.

    Parameters
    ----------
    limit
        Maximum number of groups.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, names, redrives

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
        "waggle dlq retry --type payment.collect --set amount=@sum --drop sum --dry-run",
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
    set_: SetFields = None,
    drop: DropFields = None,
    detach: Flag = False,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Retry dead letters: those with these ids, or all that match the options.

    With ids, each dead letter is pending again once this command reports it. With options it is a bulk retry: the dead letter service works \
through it at the given rate, and stops it if the retried tasks fail again at once. Ctrl-C ends this command; the bulk retry continues.

    Parameters
    ----------
    ids
        The ids of dead letters; - reads ids from standard input.
    payload
        A new payload for a single dead letter, a JSON object: the text itself, @FILE, or - for standard input. The original is kept.
    all_
        Retry every dead letter.
    dry_run
        Only report how many would be retried, and with --set or --drop the first ten before and after.
    rate
        Maximum retries per second; the default is the service's setting.
    limit
        Maximum number of retries.
    set_
        In a bulk retry, give this field of each payload a value: JSON, or a text. NAME=@OTHER gives it the value of the field OTHER. \
A payload that does not fit its type afterwards stays a dead letter. May be repeated.
    drop
        In a bulk retry, remove this field from each payload. May be repeated.
    detach
        Do not wait for the bulk retry to end.
    """
    from waggle_cli.commands import options, redrives
    from waggle_cli.commands.session import session

    query = {name: value for name, value in filters.query().items() if value is not None}
    bulk = {**query, "all": all_ or None, "dry_run": dry_run or None, "rate": rate, "limit": limit, "changes": options.payload_changes(set_, drop)}
    bulk = {name: value for name, value in bulk.items() if value is not None}
    _check(ids or [], bulk, payload, bool(query) or all_, detach)
    with session("waggle dlq retry", url) as api:
        if ids:
            return redrives.retry_each(api, ids, payload, output)
        return redrives.retry_many(api, bulk, output, detach=detach, url=url)


def _check(ids: list[str], bulk: dict[str, Any], payload: str | None, narrowed: bool, detach: bool) -> None:
    from waggle_cli.commands.session import fail

    if ids and (bulk or detach):
        fail("waggle dlq retry", "give either ids or filter options, not both")
    if not ids and not narrowed:
        fail("waggle dlq retry", "give ids, filter options such as --type or --fingerprint, or --all for every dead letter")
    if payload is not None and len(ids) != 1:
        fail("waggle dlq retry", "--payload is for a single dead letter: give one id")


@app.command(usage="Usage: waggle dlq remove [OPTIONS] ID...", help_epilogue=examples("waggle dlq remove ID ID"))
def remove(ids: DeadLetterIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Remove dead letters from the DLQ: they become failed, which is final.

    Parameters
    ----------
    ids
        The ids of dead letters; - reads ids from standard input.
    """
    from waggle_cli.commands.session import each, session
    from waggle_cli.views import lists, tasks

    with session("waggle dlq remove", url) as api:
        return each("waggle dlq remove", ids, lambda id_: lists.one(api.delete("dlq", id_), output, lambda task: tasks.line("removed", task)))


@app.command(help_epilogue=examples("waggle dlq cleanup", "waggle dlq cleanup --older-than 30d"))
def cleanup(*, older_than: Seconds = None, output: Output = "table", url: Url = "") -> int:
    """Run the DLQ cleanup now: expired dead letters become failed, which is final.

    Parameters
    ----------
    older_than
        Remove dead letters that died at least this long ago: seconds, or a length such as 7d. The default is the service's retention and size.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import lists, show
    from waggle_cli.views.words import count

    body = None if older_than is None else json.dumps({"older_than": older_than}).encode()
    with session("waggle dlq cleanup", url) as api:
        answer = api.post("dlq", "cleanup", body=body, timeout=CLEANUP_SECONDS)
        lists.one(answer, output, lambda done: show.say(f"removed {count(done['cleaned'], 'dead letter')}, {done['remaining']:,} left"))
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
    """List bulk retries, newest first; or show one, follow it to its end, or stop it.

    Parameters
    ----------
    id_
        The id of a bulk retry.
    watch
        Follow it until it ends; the exit code is 1 unless it completed.
    stop
        Stop it. Tasks that it has retried stay retried.
    """
    from waggle_cli.commands.redrives import follow
    from waggle_cli.commands.session import Exit, fail, session
    from waggle_cli.views import lists, redrives

    if ((watch or stop) and id_ is None) or (watch and stop):
        fail("waggle dlq retries", "give the id of a bulk retry, with either --watch or --stop")
    with session("waggle dlq retries", url) as api:
        if id_ is None:
            lists.listing(
                *(api, ["dlq", "retries"], output, redrives.table),
                query={},
                most=part.maximum,
                cursor=part.cursor,
                again=("dlq", "retries"),
                empty=lambda: "No bulk retries.",
                url=url,
            )
            return Exit.OK
        if watch:
            return follow(api, api.get("dlq", "retries", id_), output, url=url)
        lists.one(api.delete("dlq", "retries", id_) if stop else api.get("dlq", "retries", id_), output, redrives.card)
    return Exit.OK
