"""The built-in type `webhook.deliver`: reports the end of a task to its `callback_url`. A trigger of the table inserts such a task in the commit of the end."""

from typing import Final

from waggle import webhooks
from waggle.app import App
from waggle.context import Context, Reject, Retry
from waggle.errors import ErrorCode
from waggle.settings.services import WorkerSettings
from waggle_worker.http.request import Outgoing

TRIES: Final = 10
SECONDS: Final = 20.0
GONE: Final = 410  # the receiver wants nothing any more (Standard Webhooks 1.0)


def app(settings: WorkerSettings, outgoing: Outgoing) -> App:
    """An app with the handler, to be included; empty without `WAGGLE_CALLBACK_SECRETS`: then such tasks wait for a worker that has it.

    Raises SettingsError for an invalid secret.
    """
    made = App()
    keys = [webhooks.read_secret(text, "WAGGLE_CALLBACK_SECRETS") for text in settings.callback_secrets]
    if not keys:
        return made

    @made.task("webhook.deliver", max_retries=TRIES, timeout=30)
    async def deliver(ctx: Context, url: str, body: str) -> int:
        """The message keeps its id over all tries, by which the receiver knows that it is the same. Returns the receiver's status."""
        signed = webhooks.headers(keys, f"msg_{ctx.task.id.hex}", body.encode())
        try:
            answer = await outgoing.request(ctx, url, "POST", signed, body=body, timeout=SECONDS)
        except Reject as refused:
            status = (refused.details or {}).get("status")
            if status is None or status == GONE:
                raise
            raise Retry(reason=str(refused), code=ErrorCode.NETWORK_ERROR, details=refused.details) from None
        return int(answer["status"])

    return made
