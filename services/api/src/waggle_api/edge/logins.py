"""Checking passwords, which costs 20 ms of CPU and 19 MiB each on purpose: a few at a time, in threads, and no long queue of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self, TypeVar

from waggle.admin import passwords
from waggle_api.refusals import Unavailable

T = TypeVar("T")

THREADS: Final = 2
WAITING: Final = 40  # about a second's work


class Passwords:
    """The threads, for the length of an `async with`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "passwords")
        self._busy = 0

    async def fits(self, stored: str | None, password: str) -> bool:
        """Whether this is the password of a stored hash. For a user who does not exist it takes as long. Raises Unavailable under a flood."""
        fits = await self._run(lambda: passwords.fits(passwords.NOBODYS if stored is None else stored, password))
        return fits and stored is not None

    async def hashed(self, password: str) -> str:
        """What to store of a new password. Raises Unavailable under a flood."""
        return await self._run(lambda: passwords.hashed(password))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._busy >= WAITING:
            raise Unavailable("too many people sign in at this moment", retry_after=2)
        self._busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._busy -= 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
