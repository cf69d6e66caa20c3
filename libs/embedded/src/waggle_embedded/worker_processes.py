"""`waggle worker --processes N`: worker processes under one parent, which restarts what dies and stops all together.

They inherit the parent's output. Exit codes as of one worker: 0 after a signal, 2 for invalid settings, 1 if they could not be started.
"""

import json
import os
import tempfile
from pathlib import Path
from threading import Thread
from typing import Final

import structlog

from waggle import machine
from waggle.settings.services import WorkerSettings
from waggle.telemetry import logs
from waggle_embedded import dead_workers, services
from waggle_embedded.child import ChildExited, ServerError, ServerProcess
from waggle_embedded.follower import Screen
from waggle_embedded.supervisor import Member, StopAsked, Supervisor

log = structlog.get_logger()

MISCONFIGURED: Final = 2
EXTRA_SECONDS: Final = 10.0  # that a child gets beyond its own grace


def run(settings: WorkerSettings) -> int:
    """Run them until a signal; the exit code."""
    logs.configure("worker", settings.log_level, settings.log_format)
    supervisor = Supervisor(_Lines())
    with supervisor.signals(), tempfile.TemporaryDirectory(prefix="waggle-worker-") as folder:
        supervisor.changed = lambda: _announce(settings, supervisor)
        try:
            if settings.app:
                supervisor.run_once("app", services.launch_check(os.environ, run=Path(folder), logs=None))
            supervisor.start(*(_member(settings, number, Path(folder), supervisor.screen) for number in range(settings.processes)))
            supervisor.watch()
        except StopAsked:
            pass
        except ChildExited as error:
            log.error("worker processes failed", reason=error.how)
            return MISCONFIGURED if error.code == MISCONFIGURED else 1
        except ServerError as error:
            log.error("worker processes failed", reason=str(error))
            return 1
        finally:
            if settings.ready_file:
                Path(settings.ready_file).unlink(missing_ok=True)
            supervisor.stop()
    return 0


def _member(settings: WorkerSettings, number: int, folder: Path, screen: Screen) -> Member:
    """The first process gets the chosen metrics port, the others the following ones."""
    port = settings.metrics_port and settings.metrics_port + number
    environ = {**os.environ, "WAGGLE_METRICS_PORT": str(port), "WAGGLE_PROCESSES": str(settings.processes)}
    name = services.names("worker", settings.processes)[number]

    def launch() -> ServerProcess:
        environ["WAGGLE_LEASE_TOKEN"] = dead_workers.new_token()
        return services.launch("waggle_worker", name, environ, run=folder, logs=None)

    def died() -> Thread:
        return dead_workers.end_leases(environ, lambda text: screen.line(name, "warning", text))

    return Member(name, launch, stop_rank=0, grace=settings.grace + EXTRA_SECONDS, follow=False, died=died)


def _announce(settings: WorkerSettings, supervisor: Supervisor) -> None:
    """Log that all are ready, and write the ready file."""
    children = [member.child for member in supervisor.members if isinstance(member.child, services.ServiceProcess)]
    facts = {"pid": os.getpid(), "pids": [child.pid for child in children], "metrics_url": [child.facts().get("metrics_url", "") for child in children]}
    log.info("all processes ready", **facts)
    if settings.ready_file:
        machine.write_private(Path(settings.ready_file), json.dumps(facts))


class _Lines:
    """The supervisor's messages as log lines: standard output is a log here."""

    def say(self, text: str, style: str = "") -> None:  # noqa: ARG002  # a log has no colours
        log.info(text.strip())

    def done(self, what: str, detail: str = "") -> None:
        log.info("process ready", process=what, detail=detail)

    def line(self, source: str, level: str, text: str) -> None:
        (log.error if level == "error" else log.warning)(text, process=source)
