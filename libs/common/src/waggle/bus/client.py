"""What Waggle uses of nats-py beyond its documented interface. Each piece says why, and which test guards it; see `require`."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final

import nats.errors
import nkeys
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.micro.request import Request

from waggle import forked, pinned

NATS_PY_VERSION: Final = "2.16.0"
CLOSE_SECONDS: Final = 1.0  # for data that was not sent yet


def require() -> None:
    """Check that the installed nats-py is the one that these pieces were tested with. Raises WrongVersion."""
    pinned.require("nats-py", NATS_PY_VERSION, "waggle.bus.client uses private parts of it")


def expects_reply(request: Request) -> bool:
    """Whether the caller of a micro service waits for a reply. nats-py shows the reply subject nowhere else (nats-io/nats.go#1589 added it in Go).

    Guarded by tests/integration/api/dead_letters/test_dlq_requests.py::test_a_command_that_nobody_waits_for_is_not_done.
    """
    return bool(request._msg.reply)


def is_user_seed(text: str) -> bool:
    """Whether this is the seed of a user's nkey."""
    try:
        pair = nkeys.from_seed(bytearray(text.encode()))
        return bool(pair.public_key.startswith(b"U"))
    except (nkeys.NkeysError, ValueError):
        return False


class NatsClient(Client):
    """The client of nats-py, with connections that end in time and cancellations that are not lost. `must_use_tls`: it signs in by TLS only."""

    must_use_tls = False

    def __init__(self) -> None:
        super().__init__()
        forked.private(self)

    @property
    def transport(self) -> Any:
        """That of its connection. Guarded by tests/integration/worker/processes/test_children.py."""
        writer = getattr(self._transport, "_io_writer", None)
        return None if writer is None else writer.transport

    async def connect(self, *args: Any, **options: Any) -> None:
        """Raises ConnectionRefusedError for what the server says against it: nats-py then raises the parent of all its errors.

        Guarded by tests/integration/bus/test_client.py.
        """
        try:
            await super().connect(*args, **options)
        except nats.errors.Error as error:
            if type(error) is nats.errors.Error:
                raise ConnectionRefusedError(str(error)) from error
            raise

    def _connect_command(self) -> bytes:
        """Send who this is by TLS only, where that is asked for: nats-py takes a server without TLS for an address with `tls://`, too.

        A file of credentials is read here, and may be half written: another try may help.

        Guarded by tests/integration/bus/test_access.py.
        """
        if self.must_use_tls and self.tls is None:
            raise ConnectionRefusedError("the server offers no TLS, and the settings ask for it")
        try:
            command: bytes = super()._connect_command()
        except (nkeys.NkeysError, AttributeError, TypeError, ValueError) as error:
            raise ConnectionRefusedError(f"the credentials cannot be read ({type(error).__name__})") from None
        return command

    async def _attempt_reconnect(self) -> None:
        """Abort a stale connection: nats-py closes it, which blocks until unsent data is flushed, on a dead link for 15 minutes (nats-io/nats.py#671).

        Guarded by tests/faults/test_a_nats_link_dies_with_unsent_data.py.
        """
        self._abort()
        await super()._attempt_reconnect()

    async def close(self) -> None:
        """Flush for CLOSE_SECONDS, then abort: nats-py waits as in `_attempt_reconnect`. Drop what no open connection can send: uvloop raises otherwise.

        It cancels a reconnect that has just begun, and with that the future of the end of the connection, which it waits for itself: that is no
        cancellation of the caller, and all is closed by then.

        See findings/nats-py-close-fails-with-unsent-data.sh. Guarded by tests/integration/bus/test_client.py.
        """
        if self.transport is None or self.transport.is_closing():
            self._pending, self._pending_data_size = [], 0
        abort = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._abort)
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            with contextlib.suppress(OSError):
                await super().close()
        except asyncio.CancelledError:
            if task and task.cancelling() > cancelled:
                raise
        finally:
            abort.cancel()

    @property
    def tls(self) -> Any:
        """The ssl object of its connection, None without TLS."""
        transport = self.transport
        return None if transport is None else transport.get_extra_info("ssl_object")

    def _abort(self) -> None:
        transport = self.transport
        if transport is not None:
            transport.abort()

    async def _process_pong(self) -> None:
        """Take the PONG of a flush whose caller was cancelled or gave up: nats-py stops to read then, and notices it two pings later.

        See findings/nats-py-is-deaf-after-a-flush-that-was-given-up.sh. Guarded by tests/integration/bus/test_client.py.
        """
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """Raise a cancellation that comes during a flush: nats-py drops it (no issue upstream). Guarded by tests/integration/bus/test_client.py."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        flushed = await super()._flush_pending(force_flush)
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
        return flushed

    async def request(self, subject: str, payload: bytes = b"", timeout: float = 0.5, old_style: bool = False, headers: dict[str, Any] | None = None) -> Msg:
        """Raise a cancellation that comes together with the reply: `asyncio.wait_for` of Python 3.11, which nats-py uses, loses it (python/cpython#86296).

        See findings/nats-py-request-loses-a-cancellation-on-python-3.11.sh. Guarded by tests/integration/bus/test_client.py.
        """
        try:
            async with asyncio.timeout(timeout):
                return await super().request(subject, payload, None, old_style, headers)  # type: ignore[arg-type]  # no time limit of its own
        except TimeoutError as error:
            raise nats.errors.TimeoutError from error

    async def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish many small messages, (subject, data), as one write.

        The `publish` of nats-py checks and counts each message, which costs more than the rest of a doorbell or an ack. Subjects here come from
        `bus.subjects` and from the server (where to ack), so there is nothing to check. Guarded by tests/integration/bus/test_client.py.
        """
        commands = b"".join([b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(data), data) for subject, data in messages])
        await self._send_command(commands)
        if self._flush_queue is None or self._flush_queue.empty():  # on a dead link the queue fills up, and putting one more would wait
            await self._flush_pending()
