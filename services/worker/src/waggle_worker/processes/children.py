"""The processes of `process=True` handlers: as many as handlers may run at once, started when they are first needed, one task at a time in each.

Each has a socket and a process group of its own and shares nothing with the others, so that a crash, a timeout or a cancellation ends only one of
them. docs/adr says why this is not a pool from a library.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import structlog

from waggle import forked
from waggle.errors import ErrorCode, TaskError
from waggle.machine import cores
from waggle.settings.services import WorkerSettings
from waggle.task import AttemptOutcome, Claimed, Failed, Outcome, Snoozed, not_here_delay
from waggle_worker import layers, metrics, outcomes
from waggle_worker.attempt_log import LogLimits
from waggle_worker.processes import frames
from waggle_worker.processes.frames import Began, Job, Leaves, OtherCode, Ready, Wrote
from waggle_worker.processes.groups import Groups

log = structlog.get_logger()

START_SECONDS: Final = 60.0  # to import the user's module
WAIT_SECONDS: Final = 10.0  # that a claimed task waits for a process before it goes back
END_SECONDS: Final = 2.0  # that a process gets to end by itself when the worker stops
LAST_OUTPUT_SECONDS: Final = 0.5  # to read what a process wrote before it ended


class Died(Exception):
    """The process has ended; `code` is its exit code, negative for a signal."""

    def __init__(self, code: int | None, *, began: bool) -> None:
        super().__init__(code)
        self.code, self.began = code, began

    @property
    def how(self) -> str:
        if self.code is None:
            return "closed its connection"
        return f"ended with exit code {self.code}" if self.code >= 0 else f"was killed by {_signal(-self.code)}"


@contextlib.contextmanager
def _closed_on_failure(link: socket.socket) -> Iterator[None]:
    """The process ends by itself when its socket is closed."""
    try:
        yield
    except BaseException:
        link.close()
        raise


class CodeChangedError(Exception):
    """A new process does not have the code that this worker announced."""


class HandlerProcess:
    """One process."""

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, groups: Groups) -> None:
        self._process, self._reader, self._writer, self._groups = process, reader, writer, groups
        self._watch = asyncio.get_running_loop().create_task(self._end_rest())  # kept, because the loop holds tasks weakly
        self.used = False
        self.leaves: Leaves | None = None  # why it takes no further task
        forked.private(self)

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self._writer.transport

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._reader.at_eof()

    @classmethod
    async def start(cls, job: Job, groups: Groups) -> "HandlerProcess":
        """A process that has imported the user's module. Raises Died, CodeChangedError, or TimeoutError."""
        ours, theirs = socket.socketpair()
        with theirs, _closed_on_failure(ours):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a file in the user's folder must not hide one of Waggle's modules; the child adds that folder after its own imports
                "-m",
                "waggle_worker.processes.child",
                str(theirs.fileno()),
                str(os.getpid()),
                stdin=DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for the worker; and what a handler starts ends with it
            )
            child = cls(process, *await asyncio.open_connection(sock=ours), groups)
        try:
            await groups.add(process.pid)
            child._writer.write(frames.frame(job))
            async with asyncio.timeout(START_SECONDS):
                match await child._said():
                    case Ready():
                        pass
                    case OtherCode(types=types):
                        raise CodeChangedError(f"the code of {', '.join(types)} has changed since this worker started: restart it")
                    case _:
                        raise Died(None, began=False)
        except BaseException:
            await child.kill()
            raise
        return child

    async def run(self, claimed: Claimed, began: Callable[[], None], wrote: Callable[[str], None]) -> Outcome:
        """Run one task; `began` is called when its handler starts, `wrote` with what it logged. Raises Died when the process ends meanwhile.

        A cancellation kills the process.
        """
        has_begun = False
        try:
            self._writer.write(frames.frame(claimed))
            while True:
                said = await self._said()
                if isinstance(said, Ready | Began):
                    has_begun = True
                    began()
                elif isinstance(said, Wrote):
                    wrote(said.logs)
                elif isinstance(said, Leaves):
                    self.leaves = said
                elif isinstance(said, OtherCode):  # it says so before a task, or never
                    raise Died(None, began=has_begun)
                else:
                    self.used = True
                    return said
        except Died as error:
            error.began = has_begun
            raise
        except asyncio.CancelledError:
            await self.kill()
            raise

    async def _said(self) -> frames.Message:
        try:
            length = frames.size(await self._reader.readexactly(frames.HEAD.size))
            said: frames.Message = frames.read(await self._reader.readexactly(length))
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:  # ValueError: a handler wrote into our socket
            await self.kill(END_SECONDS if isinstance(error, asyncio.IncompleteReadError) else 0.0)
            raise Died(self._process.returncode, began=False) from error
        return said

    async def kill(self, seconds: float = 0.0) -> None:
        """kill -9 for it and what it started, after `seconds` to end by itself. Returns when it has ended."""
        self._writer.close()
        if seconds and await self._gone(seconds):
            self._kill_all()
            return
        if self._process.returncode is None:
            self._kill_all()
            if not await self._gone(END_SECONDS):
                log.warning("killed handler process still alive", pid=self._process.pid)

    async def _end_rest(self) -> None:
        """When it has ended, end what it started, and close its socket: a fork may hold it open and hide the end."""
        await self._process.wait()
        self._kill_all()
        self._groups.remove(self._process.pid)
        await asyncio.sleep(LAST_OUTPUT_SECONDS)
        self._writer.transport.abort()

    def _kill_all(self) -> None:
        """Its group: itself, and what it started and did not give a session of its own."""
        with contextlib.suppress(ProcessLookupError):  # they have ended, whether or not the loop knows yet
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _gone(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            return False
        return True


class HandlerProcesses:
    """All processes of this worker; at most `most` at once. `versions` are those of the types that run in them."""

    def __init__(self, settings: WorkerSettings, versions: Mapping[str, str] = MappingProxyType({})) -> None:
        log_limits = LogLimits(settings.attempt_log_lines, settings.attempt_log_bytes)
        max_tasks, max_memory = settings.handler_process_max_tasks, settings.handler_process_max_memory
        self._job = Job(settings.app, settings.log_level, settings.log_format, log_limits, max_tasks, max_memory, dict(versions))
        self._places = asyncio.Semaphore(most(settings))
        self._idle: list[HandlerProcess] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._groups = Groups()

    async def run(self, claimed: Claimed, may_start: Callable[[], bool], began: Callable[[], None], wrote: Callable[[str], None]) -> Outcome:
        """Run a task in a free process. A task that waits too long for one, or may no longer start then, goes back, uncounted.

        A cancellation kills the process.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            return Snoozed(not_here_delay(claimed.attempt, claimed.retry_count), AttemptOutcome.GIVEN_BACK)
        try:
            return await self._in_one(claimed, may_start, began, wrote)
        finally:
            self._places.release()

    async def _in_one(self, claimed: Claimed, may_start: Callable[[], bool], began: Callable[[], None], wrote: Callable[[str], None]) -> Outcome:
        while True:
            try:
                child = self._an_idle_one() or await HandlerProcess.start(self._job, self._groups)
            except (Died, TimeoutError) as error:
                how = error.how if isinstance(error, Died) else "was not ready in time"
                log.error("handler process cannot start", how=how)
                return _failed(f"the handler's process could not be started: it {how}", error)
            except (OSError, CodeChangedError) as error:  # the first: no further process from the system
                return layers.not_started(claimed, error)
            if not may_start():
                self._idle.append(child)
                return outcomes.GIVEN_BACK
            try:
                outcome = await child.run(claimed, began, wrote)
            except Died as error:
                if error.began or not child.used:
                    return _failed(f"the handler's process died: it {error.how}", error)
            else:
                self._take_back(child)
                return outcome

    def _take_back(self, child: HandlerProcess) -> None:
        """After a task: for the next one, or it ends, and the next task gets a new process."""
        if child.leaves is None:
            self._idle.append(child)
            return
        metrics.PROCESSES_REPLACED.labels(child.leaves.reason).inc()
        log.info("handler process replaced", pid=child.pid, **msgspec.structs.asdict(child.leaves))
        task = asyncio.get_running_loop().create_task(child.kill(END_SECONDS))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _an_idle_one(self) -> HandlerProcess | None:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
        return None

    async def close(self) -> None:
        """End the idle ones, and those that take no further task."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.kill(END_SECONDS) for child in idle), *self._leaving)
        await self._groups.close()


def _signal(number: int) -> str:
    """The name of a signal; real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def most(settings: WorkerSettings) -> int:
    """How many process handlers run at once: what the setting says, else this worker's share of the cores."""
    return settings.handler_processes or max(1, cores() // max(1, settings.processes))


def _failed(message: str, error: Exception) -> Outcome:
    code = error.code if isinstance(error, Died) else None
    details = {} if code is None else {"exit_code": code} if code >= 0 else {"signal": _signal(-code)}
    return Failed(TaskError(ErrorCode.TASK_EXECUTION_FAILED, message, retryable=True, details=details or None))
