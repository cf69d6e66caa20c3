"""Publishers for people. A password is printed alone on standard output, so that a script can take it."""

import sys
from collections.abc import Sequence

from waggle.bus import subjects
from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import age, plain, present


def table(publishers: Sequence[Json]) -> None:
    """Publishers, one per line."""
    now = present()
    show.table(
        [
            {
                "NAME": plain(publisher["name"], "bold"),
                "QUEUES": plain(", ".join(publisher.get("queues", [])) or "all"),
                "TYPES": plain(", ".join(publisher.get("types", [])) or "all"),
                "EVENTS": plain("yes" if publisher.get("events") else "no"),
                "CREATED": plain(f"{age(publisher['created'], now)} ago"),
                "BY": plain(publisher["created_by"]),
            }
            for publisher in publishers
        ],
        spare=("BY",),
    )


def made(publisher: Json) -> None:
    """The password alone on standard output, what it is for on standard error."""
    name = publisher["name"]
    print(f"The publisher {name} publishes to {subjects.submit(name, 'TYPE')} as the NATS user {publisher['user']}.", file=sys.stderr)
    print("Its password is shown this once; see `waggle publishers --help` for when NATS takes it:", file=sys.stderr)
    show.write(publisher["password"].encode() + b"\n")
