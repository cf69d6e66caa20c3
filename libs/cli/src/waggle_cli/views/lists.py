"""Lists: a table for people, the API's own JSON, or one item per line; long lists page by page to the end."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from waggle_cli.rest.client import PAGE_LIMIT, Api
from waggle_cli.rest.shapes import Reply
from waggle_cli.rest.watching import raw_items
from waggle_cli.views import show


def listing(
    api: Api,
    path: Sequence[str],
    output: str,
    table: Callable[[Sequence[Any]], None],
    *,
    query: Mapping[str, Any],
    most: int | None,
    cursor: str | None = None,
    again: Sequence[str] = (),
    empty: Callable[[], str],
    url: str = "",
) -> None:
    """Show a list of up to `most` items. `again` is the command that shows more; `empty` is the text for an empty list."""
    pages = api.pages(*path, **query, limit=most, cursor=cursor)
    if output == "json" and most is not None and most <= PAGE_LIMIT:
        show.raw(next(page for page in pages if page.value["items"] or "next_cursor" not in page.value).raw)  # an empty page may have a cursor
        return
    if output != "table":
        last = merged(pages) if output == "json" else lines(pages)
    else:
        items: list[Any] = []
        last = None
        for last in pages:  # the last page has the cursor
            items += last.value["items"]
        if items:
            table(items)
        else:
            show.say(empty())
    if last and (more := last.value.get("next_cursor")):
        hint("There are more", *again, **query, limit=most, url=url, cursor=more)


def whole(answer: Reply[Any], output: str, table: Callable[[Sequence[Any]], None], empty: str) -> None:
    """Show a list that is a single answer."""
    if output == "json":
        show.raw(answer.raw)
    elif output == "jsonl":
        lines(iter([answer]))
    elif answer.value["items"]:
        table(answer.value["items"])
    else:
        show.say(empty)


def one(answer: Reply[Any], output: str, card: Callable[[Any], None]) -> None:
    """Show one item."""
    if output == "table":
        card(answer.value)
    elif output == "json":
        show.raw(answer.raw)
    else:
        show.write(answer.raw + b"\n")


def lines(pages: Iterator[Reply[Any]]) -> Reply[Any] | None:
    """Print one item per line, byte for byte; returns the last page."""
    last = None
    for last in pages:
        show.write(b"".join(item + b"\n" for item in raw_items(last)))
    return last


def merged(pages: Iterator[Reply[Any]]) -> Reply[Any] | None:
    """Print one JSON object with the items of all pages, valid even if a page fails; returns the last page."""
    last, between = None, b""
    show.write(b'{"items":[')
    try:
        for last in pages:
            for item in raw_items(last):
                show.write(between + item)
                between = b",\n"
    finally:
        show.write(b"]}\n")
    return last


def hint(why: str, *words: str, **options: Any) -> None:
    """Print a command to copy, on standard error."""
    command = ["waggle", *words]
    for option, value in options.items():
        for one_value in value if isinstance(value, list) else [value]:
            if one_value is not None and one_value != "":
                command += (f"--{option.replace('_', '-')}", f"{one_value:g}" if isinstance(one_value, float) else str(one_value))
    print(f"{why}: {shlex.join(command)}", file=sys.stderr)
