"""The built-in type `alert.send`: sends an alert's message again that the webhook did not take from the scheduler."""

import asyncio

from waggle import webhooks
from waggle.app import App
from waggle.context import Reject, Retry
from waggle.errors import ErrorCode
from waggle.settings.services import WorkerSettings


def app(settings: WorkerSettings) -> App:
    """An app with the handler, to be included; empty without `WAGGLE_ALERT_URL`: then such tasks wait for a worker that has it.

    Raises SettingsError for an invalid secret.
    """
    made = App()
    if not settings.alert_url:
        return made
    url, key = settings.alert_url, webhooks.read_secret(settings.alert_secret)

    @made.task("alert.send", max_retries=100, timeout=30)
    async def send(message_id: str, body: str) -> None:
        """The message keeps its id, by which the receiver knows that it is the same."""
        try:
            await asyncio.to_thread(webhooks.post, url, key, message_id, body.encode())
        except webhooks.NotTaken as error:
            if error.gone:
                raise Reject(str(error)) from None
            raise Retry(reason=str(error), code=ErrorCode.NETWORK_ERROR) from None

    return made
