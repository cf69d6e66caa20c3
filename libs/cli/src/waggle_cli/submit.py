"""`waggle tasks submit`: one task, several like it, or those of a file."""

import json
from typing import Annotated, Any, Final, NoReturn
from uuid import uuid4

from cyclopts import Parameter

from waggle_cli import options
from waggle_cli.parameters import JsonObject, Limit, Moment, OfQueue, Output, Priority, Seconds, Url, examples, known_types

SUBMIT_USAGE: Final = """\
Usage: waggle tasks submit [OPTIONS] TYPE
       waggle tasks submit [OPTIONS] --file FILE"""
SUBMIT_EPILOGUE: Final = examples(
    """waggle tasks submit demo.sleep --payload '{"seconds": 3}' --priority high""",
    "waggle tasks submit demo.echo --payload @order.json --delay 15m",
    "waggle tasks submit demo.echo --payload - --wait 30 -o json < order.json",
    "waggle tasks submit demo.echo --count 10000",
    "waggle tasks submit --file tasks.jsonl",
)


def submit(
    type_: Annotated[str | None, Parameter(name="TYPE", completer=known_types)] = None,
    /,
    *,
    payload: JsonObject = None,
    wait: Seconds = None,
    count: Annotated[Limit | None, Parameter(metavar="N")] = None,
    file: Annotated[str | None, Parameter(validator=options.file_name, allow_leading_hyphen=True, metavar="FILE|-")] = None,
    priority: Priority = None,
    queue: OfQueue = None,
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
    """Submit a task, or many. When this command says so, they are stored and will be run.

    What is not given has the default of the task's type. With --count or --file the tasks are sent in batches of up to 1,000, and a batch \
that got no answer is sent again without doubling a task.

    Parameters
    ----------
    type_
        The task's type, the name under which a worker has its handler, such as demo.echo.
    payload
        The handler's arguments, a JSON object: the text itself, @FILE, or - for standard input.
    wait
        Wait for the task to end, so long at most, and show it; the exit code is 1 unless it completed.
    count
        Submit this task so many times.
    file
        Submit the tasks of a file, or of standard input: one JSON object a line, with the fields of POST /api/tasks. Nothing is sent when a \
line is wrong.
    priority
        low, medium, high or critical, or 0 to 3.
    queue
        The queue it waits in.
    max_retries
        How often it is tried again when it failed; 0: it is tried once.
    timeout
        How long one try may take.
    delay
        Run it so much later: seconds, or a length such as 15m, 2h or 7d.
    run_at
        Run it at that time: ISO 8601, in this machine's time zone unless it has an offset.
    deadline
        It fails when it has not ended by then.
    unique_key
        While a task of this type with this key waits or runs, there will be no second one.
    idempotency_key
        Submitting again with the same key gives the same task, or the same tasks. Without one, each submission has a key of its own.
    description
        A text for people.
    metadata
        A JSON object to find the task by, given like the payload.
    """
    from waggle_cli import submissions

    key = idempotency_key or str(uuid4())
    plain = {"type": type_, "priority": priority, "queue": queue, "max_retries": max_retries, "timeout": timeout, "delay": delay, "run_at": run_at}
    plain |= {"deadline": deadline, "unique_key": unique_key, "description": description}
    body = _object(plain, payload=payload, metadata=metadata)
    if file is not None:
        if body != b"{}" or wait is not None or count is not None:
            _wrong("--file has whole tasks: leave out TYPE and the options of a task")
        return submissions.file(file, key, output, url)
    if type_ is None:
        _wrong("give the task's TYPE, or a --file of tasks; `waggle types` shows the types")
    if count is None:
        return _submit_one(body, key, wait, output, url)
    if wait is not None or unique_key is not None:
        _wrong("--count goes with neither --wait nor --unique-key; `waggle tasks watch --until-done` waits for many")
    return submissions.copies(body, count, key, output, url)


def _submit_one(body: bytes, key: str, wait: float | None, output: str, url: str) -> int:
    from waggle_cli import lists, task_views, waiting
    from waggle_cli.client import Problem, Unreachable
    from waggle_cli.session import Exit, session

    with session("waggle tasks submit", url) as api:
        try:
            answer = api.submit(body, key)
        except (Unreachable, Problem) as error:
            if error.unknown:
                error.add_note(f"It may have been accepted all the same: to be sure, repeat it with --idempotency-key {key}")
            raise
        if output == "table" or wait is None:
            lists.one(answer, output, lambda task: task_views.line("submitted" if answer.status == 201 else "there already:", task))
        if wait is None:
            return Exit.OK
        try:
            return waiting.wait(api, answer.value["id"], wait, output, url)
        except (Unreachable, Problem) as error:
            error.add_note(f"The task was accepted, its id is {answer.value['id']}")
            raise


def _object(fields: dict[str, Any], **texts: str | None) -> bytes:
    """A JSON object of what is given. `texts` are JSON already and stay as they are."""
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items() if value is not None]
    members += [f"{json.dumps(name)}: {text}" for name, text in texts.items() if text is not None]
    return f"{{{', '.join(members)}}}".encode()


def _wrong(message: str) -> NoReturn:
    from waggle_cli.session import fail

    fail("waggle tasks submit", message)
