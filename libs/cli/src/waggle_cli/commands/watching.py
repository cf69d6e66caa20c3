"""`waggle tasks watch`: polls tasks and shows what changed."""

import sys
from collections.abc import Sequence
from typing import Any

from waggle_cli.commands.session import Exit
from waggle_cli.rest.client import Api
from waggle_cli.rest.shapes import AT_REST
from waggle_cli.rest.watching import all_done, polls
from waggle_cli.views import names, show
from waggle_cli.views.watching import display


def watch(api: Api, ids: Sequence[str], query: dict[str, Any], *, until_done: bool, limit: int, every: float, output: str) -> int:
    """Watch until all is done, or until Ctrl-C; the exit code. Raises Unreachable or ApiError if the first poll fails."""
    some = went_wrong = False
    try:
        with display(output) as shown:
            for poll in polls(api, ids, query, limit, every):
                shown(poll)
                some = some or bool(poll)
                went_wrong = went_wrong or any(task["status"] in AT_REST and task["status"] != "completed" for task, _ in poll)
                if until_done and all_done(api, poll, query, by_filter=not ids):
                    break
    except KeyboardInterrupt:
        return 130 if until_done else Exit.OK
    if not some and output == "table" and not sys.stdout.isatty():
        show.say(names.no_tasks(api, query, None))
    return Exit.REFUSED if went_wrong else Exit.OK
