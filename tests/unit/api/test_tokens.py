"""Access tokens: what is refused, byte by byte. Nothing but a token of ours, for now, with one of our keys, is read."""

from typing import Any
from uuid import UUID

import jwt
import pytest

from support.forged import Forger, parts
from waggle_api.edge.tokens import ACCESS_SECONDS, CLOCK_SECONDS, KEY_DAYS, Tokens
from waggle_api.refusals import Unauthenticated

SECRET = "the-secret-of-the-tests-is-not-a-secret"
SESSION = UUID(int=7)
NOW = 1_790_000_000.0
DAY = 86_400.0


class At:
    """A clock that a test sets."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def tokens(clock: At, algorithm: Any = "Ed25519", secret: str = SECRET, issuer: str = "waggle") -> Tokens:
    return Tokens(secret, issuer, algorithm, clock)


FORGER = Forger(tokens(At()), tokens(At()).access(SESSION, "anna"))
HEADER = FORGER.header
NOT_OURS = {**FORGER.all(), "nothing": "", "not ASCII": "é.é.é"}


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_token_that_is_not_ours_is_refused(name: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens(At()).read_access(NOT_OURS[name].encode())


@pytest.mark.parametrize("algorithm", ["Ed25519", "HS256"])
def test_our_own_token_is_read_until_it_expires(algorithm: str) -> None:
    clock = At()
    ours = tokens(clock, algorithm)
    token = ours.access(SESSION, "anna").encode()
    assert parts(token.decode())[0] == {"alg": algorithm, "typ": "at+jwt", "kid": HEADER["kid"]}
    assert ours.read_access(token) == (SESSION, ACCESS_SECONDS)
    clock.now = NOW + ACCESS_SECONDS - 1
    assert ours.read_access(token) == (SESSION, 1.0)
    clock.now = NOW + ACCESS_SECONDS
    with pytest.raises(Unauthenticated):
        ours.read_access(token)


def test_another_api_whose_clock_is_a_little_behind_reads_it() -> None:
    token = tokens(At()).access(SESSION, "anna").encode()
    assert tokens(At(NOW - CLOCK_SECONDS)).read_access(token)[0] == SESSION
    with pytest.raises(Unauthenticated):
        tokens(At(NOW - CLOCK_SECONDS - 2)).read_access(token)


@pytest.mark.parametrize(("one", "other"), [("Ed25519", "HS256"), ("HS256", "Ed25519")])
def test_a_token_of_the_other_algorithm_is_refused(one: str, other: str) -> None:
    with pytest.raises(Unauthenticated):
        tokens(At(), one).read_access(tokens(At(), other).access(SESSION, "anna").encode())


def test_keys_change_by_themselves_and_overlap() -> None:
    clock = At((NOW // (KEY_DAYS * DAY) + 1) * KEY_DAYS * DAY - 1)  # the last second of a key
    ours, behind = tokens(clock), tokens(At(clock.now - 5))
    before = ours.access(SESSION, "anna")
    published = [key["kid"] for key in ours.key_set()["keys"]]
    clock.now += 2
    after = ours.access(SESSION, "anna")
    kids = [parts(token)[0]["kid"] for token in (before, after)]
    assert kids[0] != kids[1]
    assert kids == published[1:]  # the next one was published before it signed
    for token in (before, after):
        assert ours.read_access(token.encode())[0] == SESSION
        assert behind.read_access(token.encode())[0] == SESSION


def test_others_can_check_a_token_with_the_published_key() -> None:
    clock = At()
    ours = tokens(clock)
    token = ours.access(SESSION, "anna")
    (key,) = [key for key in ours.key_set()["keys"] if key["kid"] == parts(token)[0]["kid"]]
    assert set(key) == {"kty", "crv", "use", "kid", "x"}
    bare = jwt.PyJWK({**key, "alg": "EdDSA"}).key
    claims = jwt.decode(token, bare, algorithms=["Ed25519"], audience="waggle", issuer="waggle", options={"verify_exp": False, "verify_iat": False})
    assert claims["sub"] == "anna"
    assert tokens(clock, "HS256").key_set() == {"keys": []}


def test_refresh_tokens_are_made_again_and_cannot_be_guessed() -> None:
    ours = tokens(At())
    first, second = ours.refresh(SESSION, 0), ours.refresh(SESSION, 1)
    assert first == ours.refresh(SESSION, 0) != second
    assert ours.read_refresh(second) == (SESSION, 1)
    start, _, _ = first.rpartition("_")
    mac = first.rpartition("_")[2]
    for wrong in (
        "",
        "wgr",
        first[:-1],
        first + "0",
        f"{start.replace('_0', '_1')}_{mac}",
        first.replace("_0_", "_00_"),
        first.replace("_0_", "_-1_"),
        "é" + first,
    ):
        with pytest.raises(Unauthenticated):
            ours.read_refresh(wrong)
    with pytest.raises(Unauthenticated):
        tokens(At(), secret="x" * 32).read_refresh(first)
