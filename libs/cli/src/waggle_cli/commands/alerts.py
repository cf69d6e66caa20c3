"""`waggle alerts`: what fires, and a test of the webhook."""

import time
from typing import Annotated, Any, Final

from cyclopts import App, Parameter

from waggle_cli.commands.parameters import EXIT_CODES, WHICH_API, Output, Url, examples

EPILOGUE: Final = f"""\
Schedulers with WAGGLE_ALERT_URL raise alerts and tell that webhook, signed as
Standard Webhooks: that one fires, and that it is over. `waggle alerts` without
a command is `waggle alerts list`.
{WHICH_API.rstrip()}

Examples:
  waggle alerts
  waggle alerts test

{EXIT_CODES}"""
TEST_SECONDS: Final = 45.0
POLL_SECONDS: Final = 0.5

app = App(name="alerts", help="List what fires; test the webhook.", help_epilogue=EPILOGUE)


@app.default
@app.command(name="list", help_epilogue=examples("waggle alerts list", "waggle alerts list --firing -o json"))
def list_(*, firing: Annotated[bool | None, Parameter(negative="--over", show_default=False)] = None, output: Output = "table", url: Url = "") -> int:
    """List the alerts of the last 30 days, those that fire first.

    Parameters
    ----------
    firing
        Only those that fire; --over: only those that are over.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import alerts, lists

    with session("waggle alerts list", url) as api:
        answer = api.get("alerts", firing=None if firing is None else str(firing).lower())
        lists.whole(answer, output, alerts.table, "No alerts.")
    return Exit.OK


@app.command(name="test", help_epilogue=examples("waggle alerts test"))
def send_test(*, output: Output = "table", url: Url = "") -> int:
    """Send a test to the webhook, and wait until it was taken; the exit code is 1 unless it was."""
    from waggle_cli.commands.session import Exit, fail, session
    from waggle_cli.views import alerts, lists

    with session("waggle alerts test", url) as api:
        answer: Any = api.post("alerts", "test")
        deadline = time.monotonic() + TEST_SECONDS
        while "sent" not in answer.value:
            if time.monotonic() > deadline:
                fail(
                    "waggle alerts test",
                    f"no scheduler has sent it within {TEST_SECONDS:g} s: see that one runs, with WAGGLE_ALERT_URL and WAGGLE_ALERT_SECRET",
                )
            time.sleep(POLL_SECONDS)
            answer = api.get("alerts", answer.value["id"])
        lists.one(answer, output, alerts.sent)
        return Exit.REFUSED if "error" in answer.value else Exit.OK
