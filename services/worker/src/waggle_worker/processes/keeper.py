"""A small process beside a worker: when the worker has died, it ends the process groups of its handlers. A `kill -9` leaves the worker no time for that.

It runs as a file of its own, so that it starts in an instant. Each line on its standard input names all groups; the end of the input is the worker's end.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # often sent to all processes at once
        signal.signal(number, signal.SIG_IGN)
    groups: list[str] = []
    for line in sys.stdin:
        groups = line.split()
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(group), signal.SIGKILL)


if __name__ == "__main__":
    main()
