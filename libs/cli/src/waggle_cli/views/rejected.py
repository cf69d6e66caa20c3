"""Rejected submissions for people."""

from collections.abc import Sequence

from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import age, at, plain, present

REASON_WIDTH: int = 80


def table(rejections: Sequence[Json]) -> None:
    """Rejections, one per line."""
    now = present()
    show.table(
        [
            {
                "ID": plain(str(rejection["id"])),
                "AGE": plain(age(rejection["received"], now)),
                "PUBLISHER": plain(rejection["publisher"]),
                "TYPE": plain(rejection["type"]),
                "CODE": plain(rejection["code"]),
                "WHY": plain(_why(rejection)[:REASON_WIDTH]),
            }
            for rejection in rejections
        ],
        spare=("AGE",),
    )


def card(rejection: Json) -> None:
    """One, with what came."""
    facts = show.fact(
        subject=rejection["subject"],
        received=at(rejection["received"], present()),
        code=f"{rejection['code']} ({rejection['status']})",
        why=rejection["detail"],
        errors="\n".join(f"{error['field']}: {error['message']}" for error in rejection.get("errors", [])),
        headers="\n".join(f"{name}: {value}" for name, value in rejection.get("headers", {}).items()),
        body=rejection.get("body", ""),
    )
    show.card(plain(f"rejected {rejection['id']}", "bold"), facts)


def _why(rejection: Json) -> str:
    errors = [f"{error['field']}: {error['message']}" for error in rejection.get("errors", [])]
    return "; ".join(errors) or str(rejection["detail"])
