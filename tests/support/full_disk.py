"""A disk on which a process cannot write any more: the kernel refuses each write of it, as it does on a full disk."""

import resource

UNLIMITED = resource.RLIM_INFINITY


def fill(pid: int) -> None:
    """From now on each write to a file fails."""
    _limit(pid, 1)


def make_room(pid: int) -> None:
    _limit(pid, UNLIMITED)


def _limit(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size if size != UNLIMITED else hard, hard))
