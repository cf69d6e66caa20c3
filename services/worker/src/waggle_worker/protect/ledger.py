"""What this worker knows of the bucket that the fleet shares its breakers in, and what it still has to write there."""

import asyncio
from typing import Final, Literal

REGISTERED_LIMIT: Final = 200  # names that a worker writes before they ever opened, so that people can see them
HOST: Final = "http:"  # prefix of a host's breaker; hosts come from payloads and may be many

Intent = Literal["register", "change"]  # why a name is written: for people to see it, or because other workers must know


class Ledger:
    """By name. `wake` is set when the bucket should be read or written soon."""

    def __init__(self) -> None:
        self.revisions: dict[str, int] = {}  # the last one known; 0: nothing is there
        self.unwritten: dict[str, Intent] = {}
        self.doubted: set[str] = set()  # the bucket holds another record than the one known here
        self.wake = asyncio.Event()
        self._registered = 0

    def revision(self, name: str) -> int:
        return self.revisions.get(name, 0)

    def register(self, name: str) -> None:
        """A breaker that is used here for the first time."""
        if not name.startswith(HOST) and self._registered < REGISTERED_LIMIT and name not in self.revisions:
            self._registered += 1
            self.unwritten[name] = "register"

    def change(self, name: str) -> None:
        """Other workers must know of it soon."""
        self.unwritten[name] = "change"
        self.wake.set()

    def doubt(self, name: str) -> None:
        self.doubted.add(name)
        self.wake.set()

    def wrote(self, name: str, revision: int) -> None:
        self.revisions[name] = max(revision, self.revision(name))

    def start_over(self, is_closed: dict[str, bool]) -> None:
        """The bucket is a new one: write what is open here again, and register the rest."""
        self.revisions.clear()
        for name, closed in is_closed.items():
            if not closed:
                self.unwritten[name] = "change"
            elif not name.startswith(HOST):
                self.unwritten.setdefault(name, "register")
