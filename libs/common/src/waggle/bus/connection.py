"""The connection to NATS: it may fail at any time and reconnects by itself, forever, with jitter.

Messages published without a connection are dropped: Postgres holds the truth.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Server
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from waggle.bus import client as nats_client
from waggle.bus.access import NatsAccess, access
from waggle.bus.client import CLOSE_SECONDS, NatsClient
from waggle.settings.shared import Settings
from waggle.telemetry import catalogue, certificates

log = structlog.get_logger()

CONNECTED: Final = catalogue.NATS_CONNECTED.create()

MINIMUM_VERSION: Final = (2, 12)
RECONNECT_FIRST_SECONDS, RECONNECT_CAP_SECONDS = 0.1, 2.0
UNSENT_BYTES: Final = 16 << 20  # beyond it publish refuses, so that a server that reads nothing does not block the caller
Callback = Callable[[Msg], Awaitable[None]]
Attachment = Callable[[NatsClient], Awaitable[None]]


class UnexpectedReply(Exception):
    """JetStream replied with something else than the answer to the request."""


# Errors that a caller may wait out: the server is unavailable, refuses, or answers unexpectedly. The outcome of the request is unknown.
# Not `nats.errors.Error`, the parent of programming mistakes as well: bad subjects, headers and callbacks, messages over the server's limit.
NATS_OUTAGE: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    UnexpectedReply,
    nats.errors.AuthorizationError,
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.NoRespondersError,
    nats.errors.NoServersError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.StaleConnectionError,
    nats.js.errors.APIError,  # JetStream refuses: a limit of the account, a stream that is gone, storage that is full
    nats.js.errors.NoStreamResponseError,
)
NOT_SENT: Final[tuple[type[Exception], ...]] = (*NATS_OUTAGE, nats.errors.BadSubjectError)  # a row inserted by SQL can hold a bad name


class Bus:
    """One connection. `generation` rises with each reconnect, by which a puller knows that its requests are gone. For `events` see waggle.bus.events."""

    def __init__(self, access: NatsAccess, name: str, events: str = "off", *, cloud_events: bool = False) -> None:
        self._access, self._name = access, name
        self.events, self.cloud_events = events, cloud_events
        self._client: NatsClient | None = None
        self._subscriptions: dict[str, Callback] = {}
        self._open: dict[str, Subscription] = {}
        self._attachments: list[Attachment] = []
        self._closed = asyncio.Event()
        self._said = ""
        self.generation = 0
        self.closing = False
        self._renewed = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected and self._said == ""

    @property
    def max_payload(self) -> int:
        """Bytes of a message with its headers that the server takes. Raises ConnectionClosedError without a connection."""
        if self._client is None or not self._client.is_connected:
            raise nats.errors.ConnectionClosedError
        return self._client.max_payload

    async def publish(self, subject: str, data: bytes, reply: str = "") -> bool:
        """Publish without waiting for an ack; False when there is no connection or it refuses. The caller limits the size of `data`."""
        if self._client is None or not self._client.is_connected or self._client.pending_data_size > UNSENT_BYTES:
            return False
        try:
            await self._client.publish(subject, data, reply)
        except NOT_SENT:
            return False
        return True

    async def publish_all(self, messages: Iterable[tuple[str, bytes]]) -> bool:
        """Publish many small messages, (subject, data), as one write; False when there is no connection or it refuses."""
        if self._client is None or not self._client.is_connected or self._client.pending_data_size > UNSENT_BYTES:
            return False
        try:
            await self._client.publish_all(messages)
        except NATS_OUTAGE:
            return False
        return True

    async def request(self, subject: str, data: bytes = b"", seconds: float = 2.0, headers: dict[str, str] | None = None) -> Msg:
        """Send a request and wait for its reply. Raises one of NATS_OUTAGE."""
        if self._client is None or not self._client.is_connected:
            raise nats.errors.ConnectionClosedError
        return await self._client.request(subject, data, timeout=seconds, headers=headers)

    async def subscribe(self, subject: str, callback: Callback) -> None:
        """Subscribe for the life of the bus, across reconnects."""
        self._subscriptions[subject] = callback
        if self._client is not None and not self._client.is_closed:
            await self._listen(self._client, subject, callback)

    async def unsubscribe(self, subject: str) -> None:
        """Unsubscribe after the callbacks of received messages; without a connection the subscription ends with the old one."""
        self._subscriptions.pop(subject, None)
        subscription = self._open.pop(subject, None)
        if subscription is not None and self.connected:
            with contextlib.suppress(*NATS_OUTAGE):
                async with asyncio.timeout(1):
                    await subscription.drain()  # type: ignore[no-untyped-call]

    async def attach(self, attachment: Attachment) -> None:
        """Call `attachment` with the client, and with each one that replaces it; possibly twice with the same one."""
        self._attachments.append(attachment)
        if self._client is not None and not self._client.is_closed:
            await attachment(self._client)

    async def renewed(self, seconds: float) -> None:
        """Wait up to `seconds` for the next connection."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._renewed.wait()

    def inbox(self) -> str:
        return f"_INBOX.{self._name}.{random.getrandbits(96):024x}"  # unique, not secret

    def jetstream(self) -> JetStreamContext:
        """For administrative requests, off the hot path. Raises ConnectionClosedError without a connection."""
        if self._client is None or not self._client.is_connected:
            raise nats.errors.ConnectionClosedError
        return self._client.jetstream(timeout=2)

    async def flush(self) -> None:
        """Wait until published data is sent, but not for an outage."""
        if self._client is not None and self._client.is_connected:
            try:
                await self._client.flush(timeout=1)
            except NATS_OUTAGE:
                return

    async def keep(self) -> None:
        """Connect, and replace the client whenever it closes for good, as it does on protocol errors."""
        while True:
            self._closed.clear()
            client = NatsClient()
            client.must_use_tls = self._access.tls
            try:
                await self._connect(client)
                self._client = client
                self._open.clear()
                for subject, callback in self._subscriptions.items():
                    await self._listen(client, subject, callback)
                for attachment in self._attachments:
                    await attachment(client)
                self._begin()
                await self._closed.wait()
                log.warning("NATS connection closed, opening a new one", error=str(client.last_error))
            except NATS_OUTAGE as error:
                log.warning("opening the NATS connection failed", error=str(error) or type(error).__name__)
            finally:
                await client.close()
            await asyncio.sleep(random.uniform(RECONNECT_FIRST_SECONDS, RECONNECT_CAP_SECONDS))  # noqa: S311  # jitter

    async def _connect(self, client: NatsClient) -> None:
        await client.connect(
            servers=self._access.servers,
            **self._access.options,
            name=self._name,
            inbox_prefix=f"_INBOX.{self._name}",
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=random.uniform(RECONNECT_FIRST_SECONDS, RECONNECT_CAP_SECONDS),  # noqa: S311  # jitter
            connect_timeout=3,
            ping_interval=5,
            max_outstanding_pings=2,
            pending_size=64 * 1024 * 1024,
            reconnect_to_server_handler=_with_jitter,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
        )

    def _begin(self) -> None:
        """Check the server of a new connection and wake those who wait for it."""
        assert self._client is not None
        version = self._client.connected_server_version
        self.generation += 1
        self._renewed.set()
        self._renewed = asyncio.Event()
        if (version.major, version.minor) < MINIMUM_VERSION:
            self._said = f"nats-server {version.major}.{version.minor} is too old: Waggle needs {MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]} or newer"
            log.error(self._said)
            return
        self._said = ""
        certificates.note_peer("nats", self._client.tls)
        url = self._client.connected_url
        log.info("NATS connected", server=url.netloc.rpartition("@")[2] if url else "", version=f"{version.major}.{version.minor}.{version.patch}")

    async def _listen(self, client: NatsClient, subject: str, callback: Callback) -> None:
        self._open[subject] = await client.subscribe(subject, cb=callback, pending_msgs_limit=-1, pending_bytes_limit=-1)

    async def _on_error(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if "ermission" in text:
            log.error("NATS refused", error=text)
        elif not isinstance(error, (nats.errors.Error, *NATS_OUTAGE)):  # raised by a subscription's callback; nats-py drops the message
            log.error("message callback failed", error=repr(error))
        elif self._client is None and text != self._said:
            self._said = text
            log.warning("waiting for NATS", error=text)

    async def _on_disconnected(self) -> None:
        if not self.closing:
            log.warning("NATS disconnected, reconnecting")

    async def _on_reconnected(self) -> None:
        self._begin()

    async def _on_closed(self) -> None:
        self._closed.set()


def _with_jitter(servers: list[Server], _: dict[str, Any]) -> tuple[Server | None, float]:
    """Any server of the list, after an exponential wait with jitter, against a thundering herd."""
    server = random.choice(servers)  # noqa: S311  # spread, not secrecy
    most = min(RECONNECT_CAP_SECONDS, RECONNECT_FIRST_SECONDS * 2 ** min(server.reconnects, 10))
    return server, random.uniform(most / 4, most)  # noqa: S311  # jitter


@asynccontextmanager
async def connection(settings: Settings, service: str) -> AsyncIterator[Bus]:
    """The bus of a service. It connects in the background, so that a service starts without NATS."""
    nats_client.require()
    bus = Bus(access(settings), f"waggle-{service}", settings.events, cloud_events=settings.events_format == "cloudevents")
    CONNECTED.set_function(lambda: bus.connected)
    keeper, owner = asyncio.create_task(bus.keep(), name="bus"), asyncio.current_task()

    def ended(keeper: "asyncio.Task[None]") -> None:
        if not keeper.cancelled() and not bus.closing and owner is not None:
            owner.cancel()  # an unexpected error stops the service

    keeper.add_done_callback(ended)
    try:
        yield bus
    finally:
        await bus.flush()
        bus.closing = True
        for _ in range(3):  # nats-py may lose a cancellation while it connects
            keeper.cancel()
            await asyncio.wait([keeper], timeout=1 + CLOSE_SECONDS)
        if keeper.done() and not keeper.cancelled():
            keeper.result()
