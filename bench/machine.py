"""The machine that a benchmark runs on: CPU, versions, and how busy other programs keep it. Linux only."""

import os
import platform
import re
import resource
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from waggle_embedded.binaries import find_nats, find_postgres

SAMPLE_SECONDS = 1.0


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def cores() -> int:
    return len(os.sched_getaffinity(0))


def memory_gb() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1)


def versions() -> dict[str, str]:
    """The servers' versions are those that they report."""
    said = subprocess.run([find_nats(), "--version"], capture_output=True, text=True, check=True).stdout
    nats = re.search(r"v(\d[\w.-]*)", said)
    return {
        "Python": platform.python_version(),
        "PostgreSQL": find_postgres(None).version,
        "nats-server": nats[1] if nats else said.strip(),
        **{package: version(package) for package in ("waggle", "asyncpg", "nats-py")},
    }


@dataclass(frozen=True)
class Load:
    """How busy the machine is before anything of ours runs."""

    averages: tuple[float, float, float]
    busy: float  # cores in use during a second
    cores: int

    @property
    def warning(self) -> str:
        """Empty if nothing else uses the machine."""
        if disturbing(self.busy):
            return f"other programs use {self.busy:.1f} of {self.cores} cores: the figures will be too low"
        if self.averages[0] >= self.cores / 2:
            return "other programs used the machine in the last minute: the figures may be too low"
        return ""


def disturbing(busy: float) -> bool:
    """Whether other programs use enough cores to matter; a quiet system uses a tenth of one."""
    return busy >= 0.2


def load() -> Load:
    before, began = used(), time.monotonic()
    time.sleep(SAMPLE_SECONDS)
    return Load(os.getloadavg(), round((used() - before) / (time.monotonic() - began), 2), cores())


def used() -> float:
    """Seconds of CPU that the whole machine has used since its start, stolen time included."""
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def ours() -> float:
    """Seconds of CPU that our ended child processes used, with their own children."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
