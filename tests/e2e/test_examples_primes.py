"""The example of a process handler does what its README says."""

import json
import re
import shlex
import tempfile
from pathlib import Path

from support.command_line import access, up, waggle
from support.facts import until

EXAMPLES = Path(__file__).parents[2] / "examples"
PART = (EXAMPLES / "README.md").read_text().partition("## Computation\n")[2].partition("\n## ")[0]


async def test_it_counts_in_a_process_that_a_timeout_kills_and_a_hook_tidies_up(session_folder: Path) -> None:
    [options] = re.findall(r"^ {4}uv run waggle up (.*)$", PART, re.MULTILINE)
    counted, killed = [shlex.split(line)[3:] for line in re.findall(r"^ {4}(uv run waggle tasks .*)$", PART, re.MULTILINE)]
    data = session_folder / "primes"
    with up(*shlex.split(options), "--processes", "1", "--data-dir", str(data), place=EXAMPLES, output=session_folder / "primes.txt") as facts:
        first = waggle(*counted, "-o", "json", place=EXAMPLES, **access(facts))
        task = json.loads(first.stdout)
        assert (first.returncode, task["result"]["count"], task["result"]["largest"]) == (0, 78498, 999983)
        assert task["result"]["process"] != facts["pids"]["worker"]

        second = waggle(*killed, "-o", "json", place=EXAMPLES, **access(facts))
        task = json.loads(second.stdout)
        assert (second.returncode, task["status"], task["error"]["code"]) == (1, "dead_letter", "task_timeout")
        log = data / "logs" / "worker.log"
        await until(lambda: [line for line in log.read_text().splitlines() if "cleanup done" in line and task["id"] in line], 20.0)
        assert not (Path(tempfile.gettempdir()) / f"primes-{task['id']}").exists()
