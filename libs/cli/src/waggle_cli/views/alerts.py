"""Alerts for people."""

from collections.abc import Sequence

from rich.text import Text

from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.terminal import printable
from waggle_cli.views.words import age, plain, present


def table(alerts: Sequence[Json]) -> None:
    """Alerts, one per line."""
    moment = present()
    show.table(
        [
            {
                "ALERT": plain(alert["name"]),
                "STATE": Text("over" if "resolved_at" in alert else "firing", style="" if "resolved_at" in alert else "red"),
                "SEVERITY": plain(alert["severity"]),
                "SINCE": Text(age(alert["since"], moment)),
                "SENT": plain(alert.get("sent", "no")),
                "SUMMARY": plain(alert["summary"]),
            }
            for alert in alerts
        ],
        spare=("SEVERITY", "SENT"),
    )


def sent(alert: Json) -> None:
    """What came of a test."""
    if "error" in alert:
        show.say(Text("not taken", style="red"), f": {printable(alert['error'])}; it is tried again as a task of the type alert.send")
    else:
        show.say(Text("taken", style="green"), " by the webhook; it hears in a minute that it is over")
