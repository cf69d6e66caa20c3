"""Waiting for one task, and showing it."""

import sys

from waggle_cli.commands.session import Exit
from waggle_cli.rest.client import Api
from waggle_cli.rest.shapes import AT_REST, Reply, TaskJson
from waggle_cli.views import lists, tasks


def wait(api: Api, task_id: str, seconds: float, output: str, url: str) -> int:
    """Wait for a task and show it; the exit code says whether it completed."""
    answer = api.wait(task_id, seconds)
    show(api, answer, output)
    status = answer.value["status"]
    if status not in AT_REST:
        print(f"The task has not ended after {seconds:g} s.", file=sys.stderr)
        lists.hint("Wait longer", "tasks", "show", task_id, wait=max(2 * seconds, 60), url=url)
    return Exit.OK if status == "completed" else Exit.REFUSED


def show(api: Api, answer: Reply[TaskJson], output: str) -> None:
    lists.one(answer, output, lambda task: tasks.card(task, api.timeline(task)))
