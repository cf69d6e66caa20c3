"""Keeps children alive: starts them, waits until they are ready, starts again what dies, stops all in order.

One plain loop in the main thread (a child ends with the thread that started it). It knows nothing about what the children are.
"""

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from waggle_embedded.child import Busy, Child, Ended, ServerError
from waggle_embedded.follower import SERIOUS, SHOWN, Follower, Screen

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 10.0
PROVEN: Final = 10.0
"""After so many seconds of work a death counts as the first one again."""
HURRY_SECONDS: Final = 5.0
SECOND_THOUGHT: Final = 0.3
"""One Ctrl-C can arrive twice (from the terminal, and passed on by `uv run`); a second one comes later than this."""


class StopAsked(Exception):
    """A signal asked us to stop while we were starting."""


@dataclass
class Member:
    """A place for one process: who is there, and when to try again. Those with the lowest `stop_rank` are stopped first."""

    name: str
    launch: Callable[[], Child]
    stop_rank: int
    ready_within: float = 60.0
    grace: float = 10.0
    tries: int = 3
    follow: bool = True
    child: Child | None = None
    ready: bool = False
    was_ready: bool = False
    since: float = 0.0
    failures: int = 0
    retry_at: float = 0.0


@dataclass
class Supervisor:
    """`changed` is called whenever the processes are other ones than before and all are ready."""

    screen: Screen
    changed: Callable[[], None] = lambda: None
    members: list[Member] = field(default_factory=list)
    started: bool = False
    stopping: bool = False
    _asked_at: list[float] = field(default_factory=list)
    _followers: dict[str, Follower] = field(default_factory=dict)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP ask us to stop; a second one asks for a hurry."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            self._asked_at.append(time.monotonic())

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
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
        return bool(self._asked_at) and self._asked_at[-1] - self._asked_at[0] > SECOND_THOUGHT

    def start(self, *members: Member) -> None:
        """Start these at once and return when all are ready. Raises ServerError when one cannot, StopAsked when we shall stop."""
        self.members += members
        while not all(member.ready for member in self.members):
            self._look(0.01)
            if self.asked:
                raise StopAsked

    def run_once(self, name: str, child: Child) -> None:
        """Wait until this child has done its work. Raises ServerError when it failed, StopAsked when we shall stop."""
        begun = time.monotonic()
        while child.alive:
            if self.asked:
                child.stop()
                raise StopAsked
            self._look(0.01)
        if child.process.returncode != 0:
            child.check_alive()
        self.screen.done(name, f"{time.monotonic() - begun:.1f} s")

    def watch(self) -> None:
        """Keep all alive until a signal asks us to stop. Raises ServerError when one can no longer be started."""
        self.started = True
        self.changed()
        while not self.asked:
            self._look(0.1)

    def _look(self, pause: float) -> None:
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
            if member.failures and now - member.since > PROVEN:
                member.failures = 0
        elif member.child.ready():
            self.screen.done(member.name, f"ready, {now - member.since:.1f} s" + (" (started again)" if self.started else ""))
            member.ready, member.was_ready, member.since = True, True, now
            if self.started and all(other.ready for other in self.members):
                self.changed()
        elif not self.started and now - member.since > member.ready_within:
            raise ServerError(f"{member.name} was not ready within {member.ready_within:.0f} s; see {member.child.log}")

    def _failed(self, member: Member, error: ServerError) -> None:
        """Plan another start, later each time, or raise the error when that is hopeless."""
        if member.child and member.child.alive:
            member.child.kill()
        member.failures += 1
        if _refused(member, error) or (not self.started and (not isinstance(error, Ended | Busy) or member.failures >= member.tries)):
            raise error
        delay = min(FIRST_DELAY * 3 ** min(member.failures - 1, 10), LONGEST_DELAY)
        how = error.how if isinstance(error, Ended) else str(error)
        self.screen.line(member.name, "warning", f"{how}; starting it again" + (f" in {delay:.0f} s" if delay >= 1 else ""))
        member.child, member.ready, member.retry_at = None, False, time.monotonic() + delay

    def _show_logs(self) -> None:
        for member in self.members:
            follower = self._followers.get(member.name)
            if follower and member.follow:
                # Who stops loses its connections: that is no news.
                follower.show(self.screen, SERIOUS if self.stopping else SHOWN)

    def stop(self) -> None:
        """Stop all, the lowest rank first; who outlasts its grace, or all when we are hurried, without mercy."""
        self.stopping = True
        for _, rank in itertools.groupby(sorted(self.members, key=lambda member: member.stop_rank), key=lambda member: member.stop_rank):
            self._stop([member for member in rank if member.child and member.child.alive])
        self._show_logs()

    def _stop(self, members: list[Member]) -> None:
        grace = max((member.grace for member in members), default=0.0)
        _send(members, lambda child: child.stop_signal)
        if not self._ended(members, grace):
            _send(members, lambda child: child.hurry_signal)
            if not self._ended(members, HURRY_SECONDS, patient=False):
                _send(members, lambda _: signal.SIGKILL)
                self._ended(members, HURRY_SECONDS, patient=False)

    def _ended(self, members: list[Member], seconds: float, *, patient: bool = True) -> bool:
        """Wait until all of these have ended: False after so many seconds, or as soon as we are hurried."""
        begun, told = time.monotonic(), False
        while living := [member.name for member in members if member.child and member.child.alive]:
            waited = time.monotonic() - begun
            if waited > seconds or (patient and self.hurried):
                return False
            if waited > 1 and patient and not told:
                told = True
                self.screen.say(f"  … {', '.join(living)}: finishing what runs, for {seconds:.0f} s at most; Ctrl-C again hurries")
            self._show_logs()
            time.sleep(0.01)
        return True


def _launched(member: Member) -> Child:
    try:
        return member.launch()
    except OSError as error:
        raise ServerError(f"{member.name} cannot be started: {error.filename or 'the system'}: {error.strerror}") from error


def _refused(member: Member, error: ServerError) -> bool:
    """Whether the child said that its settings are wrong: another start cannot help."""
    return isinstance(error, Ended) and member.child is not None and error.code == member.child.misconfigured


def _send(members: list[Member], choose: Callable[[Child], signal.Signals]) -> None:
    for member in members:
        if member.child and member.child.alive:
            member.child.send(choose(member.child))
