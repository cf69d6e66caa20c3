"""Waiting for one task, and showing it."""

import sys

from waggle_cli import lists, task_views
from waggle_cli.client import AT_REST, Client
from waggle_cli.session import Exit
from waggle_cli.shapes import Answer, Task


def wait(api: Client, task_id: str, seconds: float, output: str, url: str) -> int:
    """Wait for a task, show it, and say by the exit code whether it completed."""
    answer = api.wait(task_id, seconds)
    shown(api, answer, output)
    status = answer.value["status"]
    if status not in AT_REST:
        print(f"It has not ended within {seconds:g} s.", file=sys.stderr)
        lists.hint("Wait longer", "tasks", "show", task_id, wait=max(2 * seconds, 60), url=url)
    return Exit.OK if status == "completed" else Exit.REFUSED


def shown(api: Client, answer: Answer[Task], output: str) -> None:
    lists.one(answer, output, lambda task: task_views.card(task, api.attempts(task["id"]).value["items"]))
