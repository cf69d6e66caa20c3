"""An error in a subscription's callback concerns one message: it is logged, and the next message arrives."""

from nats.aio.msg import Msg
from structlog.testing import capture_logs

from support.facts import until
from waggle.bus.connection import Bus


async def test_a_callback_that_fails_is_logged_and_hears_the_next_message(bus: Bus) -> None:
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)
        if message.data == b"bad":
            raise KeyError("nobody expected this")

    await bus.subscribe("test.callback", hear)
    with capture_logs() as lines:
        await bus.publish("test.callback", b"bad")
        await bus.publish("test.callback", b"good")
        await until(lambda: heard == [b"bad", b"good"])
        await until(lambda: [line for line in lines if line["event"] == "message callback failed"])
