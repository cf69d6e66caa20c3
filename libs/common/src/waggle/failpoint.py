"""Places where a test kills or stops a process between two steps. Without the setting nothing happens.

`WAGGLE_FAILPOINT=api.committed:3` ends the process, as `kill -9` would, when it passes that place for the third time. `api.committed:3:stop` stops it there
(SIGSTOP) until it gets a SIGCONT.
"""

import os
import signal
from typing import Final

POINTS: Final = ("api.inserted", "api.committed", "api.answered", "api.ingested", "scheduler.locked")
PATTERN: Final = rf"^(({'|'.join(POINTS).replace('.', '[.]')}):[1-9][0-9]*(:stop)?)?$"

_left: dict[str, int] = {}
_stops = False


def arm(setting: str) -> None:
    """Set the failpoint of this process; call it once, at the start."""
    global _stops  # one process, one failpoint
    _left.clear()
    if setting:
        name, times, *how = setting.split(":")
        _left[name], _stops = int(times), bool(how)


def passed(name: str) -> None:
    """Kill or stop the process if this is the place and the time that the setting names."""
    if not _left or name not in _left:
        return
    _left[name] -= 1
    if _left[name]:
        return
    if _stops:
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        os._exit(137)
