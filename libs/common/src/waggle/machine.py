"""What the machine gives a process: cores, memory, and how Python collects its garbage."""

import ctypes
import gc
import os
import sys
from typing import Final

GC_THRESHOLDS: Final = (20_000, 20, 50)  # a batch makes thousands of objects that die without the collector
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES: Final = 16 << 20


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def spare_the_collector() -> None:
    """Call once after the start: what the start has made stays, and the collector need not look at it again (15 % of a busy worker's time)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def keep_freed_memory() -> None:
    """Some freed memory stays with the process, where malloc is glibc's. Else each large payload is given back to the kernel at its end, and the next one
    faults its pages in again: hundreds of page faults a payload instead of ten.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
