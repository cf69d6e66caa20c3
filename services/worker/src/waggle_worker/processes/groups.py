"""The process groups of this worker's handlers, as its keeper knows them: they end with the worker, even at a `kill -9`."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Final

import structlog

from waggle import forked

log = structlog.get_logger()

END_SECONDS: Final = 2.0  # for the keeper, once its input has ended
KEEPER: Final = Path(__file__).with_name("keeper.py")


class Groups:
    """Starts the keeper with the first group."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._keeper: Process | None = None
        self._starting = asyncio.Lock()

    async def add(self, group: int) -> None:
        self._groups.add(group)
        async with self._starting:
            if self._keeper is None or self._keeper.returncode is not None:
                await self._start()
        self._tell()

    def remove(self, group: int) -> None:
        self._groups.discard(group)
        self._tell()

    async def close(self) -> None:
        """Let the keeper end without a kill: the groups have ended."""
        self._groups.clear()
        self._tell()
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._keeper.wait(), END_SECONDS)

    @property
    def transport(self) -> asyncio.WriteTransport | None:
        """A forked child must not hold the keeper's input open."""
        return None if self._keeper is None or self._keeper.stdin is None else self._keeper.stdin.transport

    async def _start(self) -> None:
        try:
            self._keeper = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(KEEPER), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
            )
        except OSError as error:
            log.warning("no keeper of handler processes, what they started may outlive a killed worker", error=str(error))
        else:
            forked.private(self)

    def _tell(self) -> None:
        if self._keeper is not None and self._keeper.stdin is not None and self._keeper.returncode is None:
            with contextlib.suppress(OSError, RuntimeError):  # it has just ended
                self._keeper.stdin.write((" ".join(map(str, sorted(self._groups))) + "\n").encode())
