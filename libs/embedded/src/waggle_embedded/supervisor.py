"""Keeps child processes alive: starts them, waits until they are ready, restarts what dies, stops all in order.

One plain loop in the main thread (a child ends with the thread that started it). It does not know what its children do.
"""

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from types import FrameType
from typing import Final

from waggle import machine
from waggle_embedded.child import Busy, ChildExited, ServerError, ServerProcess
from waggle_embedded.follower import SERIOUS, SHOWN, Follower, Screen

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 10.0
PROVEN_SECONDS: Final = 10.0  # after this time of work the count of failures starts again
HURRY_SECONDS: Final = 5.0
LAST_WORDS_SECONDS: Final = 2.0  # that `died` gets when we stop too
REPEAT_SECONDS: Final = 0.3  # one Ctrl-C can arrive twice (from the terminal, and passed on by `uv run`); a second one comes later


class StopAsked(Exception):
    """A signal asked us to stop during the start."""


@dataclass
class Member:
    """A position for one process: its current child, and when to start the next one. The lowest `stop_rank` is stopped first.

    `died` is called after a child has ended other than by a graceful stop; when we stop too, the thread that it returns gets a moment.
    """

    name: str
    launch: Callable[[], ServerProcess]
    stop_rank: int
    ready_within: float = 60.0
    grace: float = 10.0
    tries: int = 3
    follow: bool = True
    died: Callable[[], Thread] | None = None
    child: ServerProcess | None = None
    ready: bool = False
    was_ready: bool = False
    since: float = 0.0
    failures: int = 0
    retry_at: float = 0.0


@dataclass
class Supervisor:
    """`changed` is called when all are ready after a process was replaced."""

    screen: Screen
    changed: Callable[[], None] = lambda: None
    members: list[Member] = field(default_factory=list)
    started: bool = False
    stopping: bool = False
    _asked_at: list[float] = field(default_factory=list)
    _followers: dict[str, Follower] = field(default_factory=dict)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM, SIGINT and SIGHUP (without `nohup`) ask us to stop; a second one asks us to hurry."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            self._asked_at.append(time.monotonic())

        before = {number: signal.signal(number, ask) for number in machine.stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        return bool(self._asked_at)

    @property
    def hurried(self) -> bool:
        return bool(self._asked_at) and self._asked_at[-1] - self._asked_at[0] > REPEAT_SECONDS

    def start(self, *members: Member) -> None:
        """Start these together and return once all are ready. Raises ServerError if one cannot start, StopAsked after a signal."""
        self.members += members
        while not all(member.ready for member in self.members):
            self._check(0.01)
            if self.asked:
                raise StopAsked

    def run_once(self, name: str, child: ServerProcess) -> None:
        """Wait for a child that ends by itself. Raises ServerError if it failed, StopAsked after a signal."""
        begun = time.monotonic()
        while child.alive:
            if self.asked:
                child.stop()
                raise StopAsked
            self._check(0.01)
        if child.process.returncode != 0:
            child.check_alive()
        self.screen.done(name, f"{time.monotonic() - begun:.1f} s")

    def watch(self) -> None:
        """Keep all alive until a signal. Raises ServerError if one can no longer be started."""
        self.started = True
        self.changed()
        while not self.asked:
            self._check(0.1)

    def _check(self, pause: float) -> None:
        for member in self.members:
            try:
                self._tend(member)
            except ServerError as error:
                self._failed(member, error)
        self._show_logs()
        time.sleep(pause)

    def _tend(self, member: Member) -> None:
        now = time.monotonic()
        if member.child is None:
            if now >= member.retry_at:
                member.since = now
                member.child = _launched(member)
                self._followers.setdefault(member.name, Follower(member.name, member.child.log, member.child.log_start))
        elif member.ready:
            member.child.check_alive()
            if member.failures and now - member.since > PROVEN_SECONDS:
                member.failures = 0
        elif member.child.ready():
            self.screen.done(member.name, f"ready, {now - member.since:.1f} s" + (" (restarted)" if self.started else ""))
            member.ready, member.was_ready, member.since = True, True, now
            if self.started and all(other.ready for other in self.members):
                self.changed()
        elif not self.started and now - member.since > member.ready_within:
            raise ServerError(f"{member.name} was not ready within {member.ready_within:.0f} s; see {member.child.log}")

    def _failed(self, member: Member, error: ServerError) -> None:
        """Schedule another start, later each time, or raise the error if another start cannot help."""
        if member.child and member.child.alive:
            member.child.kill()
        if member.child and member.died:
            member.died()
        member.failures += 1
        if _refused(member, error) or (not self.started and (not isinstance(error, ChildExited | Busy) or member.failures >= member.tries)):
            raise error
        delay = min(FIRST_DELAY * 3 ** min(member.failures - 1, 10), LONGEST_DELAY)
        how = error.how if isinstance(error, ChildExited) else str(error)
        self.screen.line(member.name, "warning", f"{how}; restarting it" + (f" in {delay:.0f} s" if delay >= 1 else ""))
        member.child, member.ready, member.retry_at = None, False, time.monotonic() + delay

    def _show_logs(self) -> None:
        for member in self.members:
            follower = self._followers.get(member.name)
            if follower and member.follow:
                # A stopping service loses its connections: no news.
                follower.show(self.screen, SERIOUS if self.stopping else SHOWN)

    def stop(self) -> None:
        """Stop all, the lowest rank first. A process that outlasts its grace is killed; after a second signal, all are."""
        self.stopping = True
        for _, rank in itertools.groupby(sorted(self.members, key=lambda member: member.stop_rank), key=lambda member: member.stop_rank):
            self._stop([member for member in rank if member.child and member.child.alive])
        self._show_logs()

    def _stop(self, members: list[Member]) -> None:
        grace = max((member.grace for member in members), default=0.0)
        _send(members, lambda child: child.stop_signal)
        if not self._ended(members, grace):
            _send(members, lambda child: child.hurry_signal)
            if not self._ended(members, HURRY_SECONDS, can_hurry=False):
                _send(members, lambda _: signal.SIGKILL)
                self._ended(members, HURRY_SECONDS, can_hurry=False)
        for thread in [member.died() for member in members if member.died and member.child and member.child.process.returncode not in (0, None)]:
            thread.join(LAST_WORDS_SECONDS)

    def _ended(self, members: list[Member], seconds: float, *, can_hurry: bool = True) -> bool:
        """Wait until all of these have ended; False after `seconds`, or as soon as a second signal arrives."""
        began, shown = time.monotonic(), False
        while living := [member.name for member in members if member.child and member.child.alive]:
            waited = time.monotonic() - began
            if waited > seconds or (can_hurry and self.hurried):
                return False
            if waited > 1 and can_hurry and not shown:
                shown = True
                self.screen.say(f"  … {', '.join(living)}: finishing running work (up to {seconds:.0f} s); press Ctrl-C again to hurry")
            self._show_logs()
            time.sleep(0.01)
        return True


def _launched(member: Member) -> ServerProcess:
    try:
        return member.launch()
    except OSError as error:
        raise ServerError(f"{member.name} cannot be started: {error.filename or 'the system'}: {error.strerror}") from error


def _refused(member: Member, error: ServerError) -> bool:
    """Whether the child reported invalid settings: another start cannot help."""
    return isinstance(error, ChildExited) and member.child is not None and error.code == member.child.misconfigured


def _send(members: list[Member], choose: Callable[[ServerProcess], signal.Signals]) -> None:
    for member in members:
        if member.child and member.child.alive:
            member.child.send(choose(member.child))
