"""Handler processes are killed repeatedly, by themselves and from outside: their neighbours are not affected."""

import os
import signal
from collections import Counter
from pathlib import Path

from support.facts import until
from support.system import Services, client_of

NEIGHBOUR = {"type": "test.process", "payload": {"seconds": 0.5}, "max_retries": 0}


async def test_the_neighbours_finish_in_their_first_attempt(start: Services, effects: Path) -> None:
    api, _, _ = (
        await start("api"),
        await start("scheduler"),
        await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", handler_processes=3, lease=15.0),
    )
    crash = [{"type": "test.process", "payload": {"do": do}, "max_retries": 0} for do in ("kill", "exit", "segfault")]
    on_the_loop = {"type": "test.work", "payload": {"seconds": 0.5}, "max_retries": 0}
    async with client_of(api) as client:
        mixed = await client.submit_many([NEIGHBOUR, *crash, on_the_loop] * 4)
        ended = [await client.wait(task, 40.0) for task in mixed]
        assert Counter(task["status"] for task in ended[0::5] + ended[4::5]) == {"completed": 8}
        assert Counter(task["status"] for task in ended[1::5] + ended[2::5] + ended[3::5]) == {"dead_letter": 12}
        assert {task["attempt"] for task in ended} == {1}


async def test_one_that_is_killed_from_outside_is_a_failed_try_and_the_others_go_on(start: Services, effects: Path) -> None:
    api, _, _ = (
        await start("api"),
        await start("scheduler"),
        await start("worker", environ={"EFFECTS": str(effects)}, app="support.handlers:app", handler_processes=3, lease=15.0),
    )
    async with client_of(api) as client:
        tasks = await client.submit_many([{"type": "test.process", "payload": {"seconds": seconds}, "max_retries": 0} for seconds in (120.0, 2.0, 2.0)])
        await until(lambda: effects.read_text().count("began:") == 3, 20.0, "all three handlers start")
        began = [line.split() for line in effects.read_text().splitlines() if line.startswith("began:")]
        did = {task: int(what.partition(":")[2]) for what, task, *_ in began}
        victim, *others = tasks
        os.kill(did[victim["id"]], signal.SIGKILL)
        assert (await client.wait(victim))["error"]["message"] == "the handler's process died: it was killed by SIGKILL"
        assert [(await client.wait(task))["status"] for task in others] == ["completed", "completed"]
