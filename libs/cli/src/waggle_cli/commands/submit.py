"""`waggle tasks submit`: one task, copies of it, or the tasks of a file."""

import json
from typing import Annotated, Any, Final, NoReturn
from uuid import uuid4

from cyclopts import Parameter

from waggle_cli.commands import options
from waggle_cli.commands.parameters import JsonObject, Limit, Moment, OfQueue, Output, Priority, Seconds, Url, examples, known_types

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
    """Submit one task or many. Once this command reports a task as submitted, it is stored and will run.

    Options that are not given have the defaults of the task's type. With --count or --file the tasks are sent in batches of up to 1,000; a batch \
without an answer is sent again, and no task is doubled.

    Parameters
    ----------
    type_
        The task's type, which names its handler, such as demo.echo.
    payload
        The handler's arguments, a JSON object: the text itself, @FILE, or - for standard input.
    wait
        Wait up to this long for the task to end, then show it; the exit code is 1 unless it completed.
    count
        Submit this many copies of the task.
    file
        Submit the tasks of a file or of standard input: one JSON object per line, with the fields of POST /api/tasks. If a line is invalid, \
nothing is sent.
    priority
        low, medium, high or critical, or 0 to 3.
    queue
        The task's queue.
    max_retries
        How often a failed task is retried; 0 means one try.
    timeout
        Time limit of one try.
    delay
        Run the task after this time: seconds, or a length such as 15m, 2h or 7d.
    run_at
        Run the task at this time: ISO 8601, in this machine's time zone unless it has an offset.
    deadline
        The task fails if it has not ended by this time.
    unique_key
        While a task of this type with this key waits or runs, another one is not created.
    idempotency_key
        Submitting again with the same key returns the same tasks. By default each submission gets a new key.
    description
        A text for people.
    metadata
        A JSON object for finding the task later, given like the payload.
    """
    from waggle_cli.commands import submit_many

    key = idempotency_key or str(uuid4())
    plain = {"type": type_, "priority": priority, "queue": queue, "max_retries": max_retries, "timeout": timeout, "delay": delay, "run_at": run_at}
    plain |= {"deadline": deadline, "unique_key": unique_key, "description": description}
    body = _object(plain, payload=payload, metadata=metadata)
    if file is not None:
        if body != b"{}" or wait is not None or count is not None:
            _wrong("--file holds complete tasks: leave out TYPE and the options of a single task")
        return submit_many.file(file, key, output, url)
    if type_ is None:
        _wrong("give a TYPE or a --file; `waggle types` lists the types")
    if count is None:
        return _submit_one(body, key, wait, output, url)
    if wait is not None or unique_key is not None:
        _wrong("--count cannot be combined with --wait or --unique-key; `waggle tasks watch --until-done` waits for many tasks")
    return submit_many.copies(body, count, key, output, url)


def _submit_one(body: bytes, key: str, wait: float | None, output: str, url: str) -> int:
    from waggle_cli.commands import waiting
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.rest.errors import ApiError, Unreachable
    from waggle_cli.views import lists, tasks

    with session("waggle tasks submit", url) as api:
        try:
            answer = api.submit(body, key)
        except (Unreachable, ApiError) as error:
            if error.unknown:
                error.add_note(f"The task may have been accepted. To be sure, repeat the command with --idempotency-key {key}")
            raise
        if output == "table" or wait is None:
            lists.one(answer, output, lambda task: tasks.line("submitted" if answer.status == 201 else "already exists:", task))
        if wait is None:
            return Exit.OK
        try:
            return waiting.wait(api, answer.value["id"], wait, output, url)
        except (Unreachable, ApiError) as error:
            error.add_note(f"The task was accepted; its id is {answer.value['id']}")
            raise


def _object(fields: dict[str, Any], **texts: str | None) -> bytes:
    """A JSON object of the given values. `texts` are JSON already and stay as they are."""
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items() if value is not None]
    members += [f"{json.dumps(name)}: {text}" for name, text in texts.items() if text is not None]
    return f"{{{', '.join(members)}}}".encode()


def _wrong(message: str) -> NoReturn:
    from waggle_cli.commands.session import fail

    fail("waggle tasks submit", message)
