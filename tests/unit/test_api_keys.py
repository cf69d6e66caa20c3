"""The form of API keys, what is stored of them, and what scopes and roles allow."""

import re
import zlib

import pytest

from waggle import api_keys, scopes
from waggle.api_keys import Fingerprints
from waggle.scopes import GRANTED, ROLES, Role, Scope

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_has_the_form_that_secret_scanners_look_for() -> None:
    key = api_keys.new()
    assert re.fullmatch(r"wgl_[0-9A-Za-z]{12}_[0-9A-Za-z]{36}", key.text)
    check = 0
    for digit in key.text[-6:]:
        check = check * 62 + DIGITS.index(digit)
    assert check == zlib.crc32(key.text[:-6].encode())
    assert api_keys.parse(key.text) == key
    assert key.text not in repr(key)


def test_a_thousand_keys_differ_in_id_and_secret() -> None:
    made = [api_keys.new() for _ in range(1_000)]
    assert len({key.id for key in made}) == len({key.text.split("_")[2][:30] for key in made}) == 1_000


def test_a_new_secret_keeps_the_id() -> None:
    first = api_keys.new()
    second = api_keys.new(first.id)
    assert second.id == first.id
    assert second.text != first.text


@pytest.mark.parametrize("place", range(len("wgl_TestAdmin000_TheTestsAdminKeyIsNoSecret00001F4D7Q")))
def test_a_key_with_a_wrong_character_is_none(place: int) -> None:
    text = "wgl_TestAdmin000_TheTestsAdminKeyIsNoSecret00001F4D7Q"
    assert api_keys.parse(text) is not None
    assert api_keys.parse(text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]) is None


@pytest.mark.parametrize("text", ["", "wgl", "wgl_", "é" * 53, "wgl_TestAdmin000_TheTestsAdminKeyIsNoSecret00001F4D7Q\n", "Bearer x"])
def test_what_has_another_form_is_no_key(text: str) -> None:
    assert api_keys.parse(text) is None


def test_a_fingerprint_depends_on_the_key_and_on_the_secret() -> None:
    one, other = Fingerprints("a" * 32), Fingerprints("b" * 32)
    found = {one.of(b"key 1"), one.of(b"key 2"), other.of(b"key 1")}
    assert len(found) == 3
    assert all(len(each) == 32 for each in found)
    assert one.of(b"key 1") == Fingerprints("a" * 32).of(b"key 1")


def test_an_admin_may_do_everything_and_unknown_scopes_allow_nothing() -> None:
    assert scopes.held(["admin"]) == GRANTED
    assert scopes.held(["tasks:read", "of:the:future", "public", "signed_in"]) == {Scope.TASKS_READ}
    assert scopes.held([]) == frozenset()


def test_each_role_may_do_more_than_the_one_before() -> None:
    assert ROLES[Role.VIEWER] < ROLES[Role.OPERATOR] < ROLES[Role.ADMIN] == GRANTED
    assert not {scope for scope in ROLES[Role.VIEWER] if not scope.endswith(":read")}
    assert Scope.PAYLOADS_READ not in ROLES[Role.VIEWER]
    assert Scope.ADMIN not in ROLES[Role.OPERATOR]
