"""The services as child processes: how each is started, and how it reports that it is ready."""

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from waggle_embedded.child import ServerProcess, rotate, spawn

SERVICES: Final = ("api", "worker", "dlq", "scheduler")


@dataclass(kw_only=True)
class ServiceProcess(ServerProcess):
    """A service process; it is ready once its ready file names its pid."""

    title: ClassVar[str] = "a service"
    misconfigured: ClassVar[int | None] = 2

    name: str
    ready_file: Path = field(repr=False)

    @property
    def called(self) -> str:
        return self.name

    def answers(self) -> bool:
        return self.facts().get("pid") == self.pid

    def facts(self) -> dict[str, Any]:
        """The content of the ready file: `pid`, `metrics_url`, for the API `api_url`; {} while there is none."""
        with contextlib.suppress(OSError, ValueError):
            facts: dict[str, Any] = json.loads(self.ready_file.read_bytes())
            return facts
        return {}


def launch(module: str, name: str, env: Mapping[str, str], *, run: Path, logs: Path | None, umask: int = -1) -> ServiceProcess:
    """Start a module as the service process `name` (`worker`, or `worker-2`). Without a folder for logs it inherits our output."""
    ready_file = run / f"{name}.json"
    ready_file.unlink(missing_ok=True)
    log = logs / f"{name}.log" if logs else None
    log_start = rotate(log) if log else 0
    environ = {**env, "WAGGLE_READY_FILE": str(ready_file), "PYTHONUNBUFFERED": "1", **({"WAGGLE_LOG_FORMAT": "json"} if log else {})}
    # -P: a file in the user's folder must not shadow one of our modules; the worker adds that folder itself, after its own imports.
    process = spawn([sys.executable, "-P", "-m", module], log=log, env=environ, umask=umask)
    return ServiceProcess(name=name, process=process, log=log or Path(os.devnull), log_start=log_start, ready_file=ready_file)


def names(service: str, count: int) -> list[str]:
    """The names of a service's processes."""
    return [service] if count == 1 else [f"{service}-{number}" for number in range(1, count + 1)]


def launch_check(env: Mapping[str, str], *, run: Path, logs: Path | None) -> ServiceProcess:
    """Start a process that imports the user's handlers, checks them and ends: exit code 2 when they cannot be served."""
    return launch("waggle_worker.check", "app", env, run=run, logs=logs)
