"""One file a statement, parameters by name."""

import re

import pytest

from waggle.store.sql import Statement, names, statement


def test_a_name_becomes_a_number_in_the_order_of_its_first_use() -> None:
    found = Statement("x", "SELECT :b, :a, :b")
    assert found.text("waggle") == "SELECT $1, $2, $1"
    assert found.bind({"a": 1, "b": 2}) == [2, 1]


def test_casts_strings_and_comments_are_not_parameters() -> None:
    found = Statement("x", "-- for :nobody\nSELECT ':text', :ids::uuid[]  -- :neither\n")
    assert found.parameters == ["ids"]
    assert found.text("waggle") == "SELECT ':text', $1::uuid[]"


def test_a_value_too_many_or_too_few_is_refused() -> None:
    found = Statement("x", "SELECT :a, :b")
    with pytest.raises(TypeError, match=r"x\.sql takes"):
        found.bind({"a": 1})
    with pytest.raises(TypeError, match=r"x\.sql takes"):
        found.bind({"a": 1, "b": 2, "c": 3})
    with pytest.raises(KeyError):
        found.bind({"a": 1, "c": 2})


def test_a_statement_is_read_once() -> None:
    assert statement("tasks/claim") is statement("tasks/claim")


@pytest.mark.parametrize("name", names())
def test_every_statement_says_what_it_is_for_and_is_one_statement(name: str) -> None:
    from importlib import resources

    source = resources.files("waggle.store.sql").joinpath(f"{name}.sql").read_text()
    assert source.startswith("-- "), f"{name}.sql does not say what it guards"
    text = statement(name).text("waggle")
    assert text.count(";") == 1
    assert text.endswith(";")


TABLES = "tasks|task_attempts|workers|task_types|queues|idempotency_keys|cleanups|redrives|dead_letter_retries|alembic_version"


@pytest.mark.parametrize("name", names())
def test_every_table_and_function_is_named_with_its_schema(name: str) -> None:
    text = statement(name).text("jobs")
    assert re.findall(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:{TABLES})\b", text) == []
    assert "waggle" not in text.replace("'waggle-%'", "")


def test_a_statement_is_made_once_for_each_schema() -> None:
    found = Statement("x", "SELECT 'waggle.x', waggle.f(:a) FROM waggle.t")
    assert found.text("jobs") == """SELECT 'waggle.x', "jobs".f($1) FROM "jobs".t"""
    assert found.text("jobs") is found.text("jobs")


def test_no_statement_notifies() -> None:
    """It would take a lock of the whole server until its commit ends: see docs/adr/0013."""
    assert [name for name in names() if "notify" in statement(name).text("waggle").lower()] == []
