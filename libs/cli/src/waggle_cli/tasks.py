"""`waggle tasks`: submit tasks, list them, look at one, cancel some."""

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import uuid4

from cyclopts import App, Parameter

from waggle_cli import options

if TYPE_CHECKING:
    from waggle_cli.client import Answer, Client, Task

EXIT_CODES: Final = """\
Exit codes:
  0  done
  1  the request was refused, or the task waited for did not complete
  2  wrong usage
  3  not found
  4  the API is not reachable, or not available
"""
EPILOGUE: Final = f"""\
A task is a piece of work for a worker: a type, which names its handler, and a
payload, the handler's arguments. The API is the one that --url names, else
WAGGLE_URL, else that of the `waggle up` which runs in this folder or in one
above it.

Examples:
  waggle tasks submit demo.echo --payload '{{"hello": "world"}}' --wait 10
  waggle tasks list --status failed --status dead_letter
  waggle tasks show ID
  waggle tasks cancel ID

{EXIT_CODES}"""
SUBMIT_EPILOGUE: Final = f"""\
Examples:
  waggle tasks submit demo.sleep --payload '{{"seconds": 3}}' --priority high
  waggle tasks submit demo.echo --payload @order.json --delay 60
  waggle tasks submit demo.echo --payload - --wait 30 -o json < order.json

{EXIT_CODES}"""
LIST_EPILOGUE: Final = f"""\
Examples:
  waggle tasks list --status failed --status dead_letter
  waggle tasks list --type demo.echo --limit 100 -o json

{EXIT_CODES}"""

app = App(
    name="tasks",
    help="Submit tasks, list them, look at one, cancel some.",
    help_epilogue=EPILOGUE,
    default_parameter=Parameter(negative_iterable=()),
)

Output = Annotated[Literal["table", "json"], Parameter(name=("--output", "-o"), help="table is for people; json is exactly what the API answers.")]
Url = Annotated[str, Parameter(help="The API's address; else WAGGLE_URL, else that of the `waggle up` of this folder.", show_default=False)]
Seconds = Annotated[float | None, Parameter(validator=options.seconds, metavar="SECONDS")]
Moment = Annotated[str | None, Parameter(converter=options.moment, metavar="TIME")]
JsonObject = Annotated[str | None, Parameter(converter=options.json_object, allow_leading_hyphen=True, metavar="JSON|@FILE|-")]
Priority = Annotated[int | None, Parameter(converter=options.priority, metavar="PRIORITY")]
TaskId = Annotated[str, Parameter(converter=options.task_id, name="ID")]
TaskIds = Annotated[list[str], Parameter(converter=options.task_id, name="ID")]
Status = Literal["pending", "running", "completed", "failed", "cancelled", "dead_letter"]


@app.command(help_epilogue=SUBMIT_EPILOGUE)
def submit(
    type_: Annotated[str, Parameter(name="TYPE")],
    /,
    *,
    payload: JsonObject = None,
    wait: Seconds = None,
    priority: Priority = None,
    queue: str | None = None,
    max_retries: int | None = None,
    timeout: Seconds = None,
    delay: Seconds = None,
    run_at: Moment = None,
    deadline: Moment = None,
    unique_key: str | None = None,
    idempotency_key: Annotated[str | None, Parameter(validator=options.header)] = None,
    description: str | None = None,
    metadata: JsonObject = None,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Submit a task. When this command says so, the task is stored and will be run.

    What is not given has the default of the task's type.

    Parameters
    ----------
    type_
        The task's type, the name under which a worker has its handler, such as demo.echo.
    payload
        The handler's arguments, a JSON object: the text itself, @FILE, or - for standard input.
    wait
        Wait for the task to end, so long at most, and show it; the exit code is 1 unless it completed.
    priority
        low, medium, high or critical, or 0 to 3.
    queue
        The queue it waits in.
    max_retries
        How often it is tried again when it failed; 0: it is tried once.
    timeout
        How long one try may take.
    delay
        Run it so much later.
    run_at
        Run it at that time: ISO 8601, in this machine's time zone unless it has an offset.
    deadline
        It fails when it has not ended by then.
    unique_key
        While a task of this type with this key waits or runs, there will be no second one.
    idempotency_key
        Submitting again with the same key gives the same task. Without one, each submission has a key of its own.
    description
        A text for people.
    metadata
        A JSON object to find the task by, given like the payload.
    """
    from waggle_cli import show
    from waggle_cli.client import Problem, Unreachable
    from waggle_cli.session import Exit, session

    key = idempotency_key or str(uuid4())
    plain = {"type": type_, "priority": priority, "queue": queue, "max_retries": max_retries, "timeout": timeout, "delay": delay, "run_at": run_at}
    plain |= {"deadline": deadline, "unique_key": unique_key, "description": description}
    with session("waggle tasks submit", url) as api:
        try:
            answer = api.submit(_object(plain, payload=payload, metadata=metadata), key)
        except (Unreachable, Problem) as error:
            if error.unknown:
                error.add_note(f"It may have been accepted all the same: to be sure, repeat it with --idempotency-key {key}")
            raise
        if output == "table":
            show.line("submitted" if answer.status == 201 else "there already:", answer.value)
        elif wait is None:
            show.raw(answer.raw)
        if wait is None:
            return Exit.OK
        try:
            return _wait(api, answer.value["id"], wait, output, url)
        except (Unreachable, Problem) as error:
            error.add_note(f"The task was accepted, its id is {answer.value['id']}")
            raise


@app.command(name="list", help_epilogue=LIST_EPILOGUE)
def list_(
    *,
    status: list[Status] | None = None,
    type_: Annotated[list[str] | None, Parameter(name="--type")] = None,
    queue: str | None = None,
    priority: Priority = None,
    metadata: JsonObject = None,
    limit: int = 20,
    cursor: str | None = None,
    output: Output = "table",
    url: Url = "",
) -> int:
    """List tasks, the newest first.

    Parameters
    ----------
    status
        Only tasks with this status; may be given several times.
    type_
        Only tasks of this type; may be given several times.
    queue
        Only tasks of this queue.
    priority
        Only tasks of this priority: low, medium, high or critical, or 0 to 3.
    metadata
        Only tasks whose metadata hold this JSON object.
    limit
        How many at most; a hint says how to get the next ones.
    cursor
        Go on where a list ended: its `next_cursor`.
    """
    from waggle_cli import show
    from waggle_cli.session import Exit, session

    filters: dict[str, Any] = {"status": status, "type": type_, "queue": queue, "priority": priority, "metadata": metadata}
    with session("waggle tasks list", url) as api:
        answer = api.tasks(**filters, limit=limit, cursor=cursor)
    if output == "json":
        show.raw(answer.raw)
        return Exit.OK
    show.table(answer.value["items"], narrowed=any(value is not None for value in (*filters.values(), cursor)))
    if more := answer.value.get("next_cursor"):
        _hint("There are more", "list", **filters, limit=limit, url=url, cursor=more)
    return Exit.OK


@app.command(name="show", help_epilogue=EXIT_CODES)
def show_(id_: TaskId, /, *, wait: Seconds = None, output: Output = "table", url: Url = "") -> int:
    """Show one task: how it stands, its payload, its result or error, and a timeline of its attempts.

    Parameters
    ----------
    id_
        The task's id.
    wait
        Wait for the task to end, so long at most; the exit code is 1 unless it completed.
    """
    from waggle_cli.session import Exit, session

    with session("waggle tasks show", url) as api:
        if wait is not None:
            return _wait(api, id_, wait, output, url)
        _show(api, api.task(id_), output)
    return Exit.OK


@app.command(usage="Usage: waggle tasks cancel [OPTIONS] ID...", help_epilogue=EXIT_CODES)
def cancel(ids: TaskIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Cancel tasks. One that waits is never started; one that runs is told to stop, and its result is not taken any more.

    Cancelling again is fine; a task that ended otherwise cannot be cancelled (exit code 1). With several ids the others are cancelled all the \
same, the exit code is that of the first error, and -o json prints one task a line.

    Parameters
    ----------
    ids
        The ids of the tasks.
    """
    from waggle_cli import show
    from waggle_cli.client import Problem
    from waggle_cli.session import Exit, exit_code, session, tell

    codes: list[int] = []
    with session("waggle tasks cancel", url) as api:
        for task_id in ids:
            try:
                answer = api.cancel(task_id)
            except Problem as error:
                if exit_code(error) is Exit.UNAVAILABLE:
                    raise
                tell(f"waggle tasks cancel: {task_id}", error)
                codes.append(exit_code(error))
                continue
            if output == "json":
                show.raw(answer.raw)
            else:
                show.line("cancelled", answer.value)
    return codes[0] if codes else Exit.OK


def _wait(api: "Client", task_id: str, seconds: float, output: str, url: str) -> int:
    """Wait for a task, show it, and say by the exit code whether it completed."""
    from waggle_cli.client import AT_REST
    from waggle_cli.session import Exit

    answer = api.wait(task_id, seconds)
    _show(api, answer, output)
    status = answer.value["status"]
    if status not in AT_REST:
        print(f"It has not ended within {seconds:g} s.", file=sys.stderr)
        _hint("Wait longer", "show", task_id, wait=max(2 * seconds, 60), url=url)
    return Exit.OK if status == "completed" else Exit.REFUSED


def _show(api: "Client", answer: "Answer[Task]", output: str) -> None:
    from waggle_cli import show

    if output == "json":
        show.raw(answer.raw)
    else:
        show.card(answer.value, api.attempts(answer.value["id"]).value["items"])


def _object(fields: dict[str, Any], **texts: str | None) -> bytes:
    """A JSON object of what is given. `texts` are JSON already and stay as they are."""
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items() if value is not None]
    members += [f"{json.dumps(name)}: {text}" for name, text in texts.items() if text is not None]
    return f"{{{', '.join(members)}}}".encode()


def _hint(why: str, *words: str, **options: Any) -> None:
    """A command to go on with, on standard error, to be copied."""
    words = ("waggle", "tasks", *words)
    for option, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            words += () if one in (None, "") else (f"--{option}", f"{one:g}" if isinstance(one, float) else str(one))
    print(f"{why}: {shlex.join(words)}", file=sys.stderr)
