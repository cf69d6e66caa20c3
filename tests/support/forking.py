"""`python -m support.forking`: API processes by fork, one after another: starting Python and importing the API would take most of the time.

Each line of stdin has the environment and the log of the next process, `{"environ": {…}, "log": "…"}`; each line of stdout is the exit code of one.
A forked API is a normal process with its own settings, event loop and connections.
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
            with_us()
            become(order["environ"], order["log"])
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become(environ: dict[str, str], log: str) -> None:
    """Become the API for the rest of this process."""
    os.environ.clear()
    os.environ.update(environ)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    random.seed()  # a fork inherits the state of its parent
    service.main("api", ApiSettings, api.run)


if __name__ == "__main__":
    main()
