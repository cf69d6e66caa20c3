"""The AsyncAPI document: the copy in docs is that of the code, and it names every subject that others may use."""

import json
from collections.abc import Iterator
from pathlib import Path

from waggle.bus import subjects
from waggle_api.openapi.asyncapi import document

COPY = Path(__file__).parents[4] / "docs" / "asyncapi.json"


def test_the_copy_is_that_of_the_code() -> None:
    assert json.loads(COPY.read_text()) == json.loads(json.dumps(document())), "run `uv run just docs`"


def test_it_names_every_subject_that_others_may_use() -> None:
    addresses = {channel["address"] for channel in document()["channels"].values()} - {None}
    assert {subjects.rpc(verb) for verb in subjects.RPC_VERBS} <= addresses
    assert {"waggle.submit.{publisher}.{type}", "waggle.rejected.{publisher}.{type}", "waggle.event.{status}.{id}.{type}"} <= addresses


def test_every_reference_leads_somewhere() -> None:
    whole = document()

    def references(value: object) -> Iterator[str]:
        if isinstance(value, dict) and "$ref" in value:
            yield value["$ref"]
        elif isinstance(value, (dict, list)):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from references(inner)

    for reference in references(whole):
        found = whole
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
