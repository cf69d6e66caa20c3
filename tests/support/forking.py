"""`python -m support.forking`: API processes by fork, one after another, because the start of Python and its imports take longer than the whole rest.

Each line of stdin is the environment and the log of the next one, `{"environ": {…}, "log": "…"}`; each line of stdout the exit code of one that has ended.
A forked API is a process like any other: its own settings, loop, connections and end.
"""

import json
import os
import random
import signal
import sys

from waggle import machine, service
from waggle.settings.services import ApiSettings
from waggle_api import __main__ as api


def main() -> None:
    with_us = machine.parent_death_hook(signal.SIGKILL)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            if with_us:
                with_us()
            become(order["environ"], order["log"])
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become(environ: dict[str, str], log: str) -> None:
    """The rest of this process is the API's."""
    os.environ.clear()
    os.environ.update(environ)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    random.seed()  # a fork has its parent's state
    service.main("api", ApiSettings, api.run)


if __name__ == "__main__":
    main()
