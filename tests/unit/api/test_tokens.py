"""Access tokens: what is refused, byte by byte. Nothing but a token of ours, for now, with one of our keys, is read."""

import base64
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return json.loads(base64.urlsafe_b64decode(header + "==")), json.loads(base64.urlsafe_b64decode(claims + "==")), signature


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def seed(ours: Tokens, clock: At) -> bytes:
    return ours._seed(int(clock() // (KEY_DAYS * DAY)))  # a forger who has the key


def forged(header: dict[str, Any], claims: dict[str, Any], algorithm: str = "Ed25519") -> str:
    """A token with another header or other claims, and a signature of our own key: only the content is wrong."""
    clock = At()
    key = seed(tokens(clock), clock)
    signed = f"{encoded(header)}.{encoded(claims)}".encode()
    signature = Ed25519PrivateKey.from_private_bytes(key).sign(signed)
    return f"{signed.decode()}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


HEADER, CLAIMS, _ = parts(tokens(At()).access(SESSION, "anna"))
NOT_OURS: dict[str, Callable[[], str]] = {
    "alg none": lambda: f"{encoded({**HEADER, 'alg': 'none'})}.{encoded(CLAIMS)}.",
    "alg none, signed": lambda: forged({**HEADER, "alg": "none"}, CLAIMS),
    "HS256 with the public key": lambda: jwt.encode(CLAIMS, public_key(), algorithm="HS256", headers={"typ": "at+jwt", "kid": HEADER["kid"]}),
    "the older name of the algorithm": lambda: forged({**HEADER, "alg": "EdDSA"}, CLAIMS),
    "no kid": lambda: forged({"alg": "Ed25519", "typ": "at+jwt"}, CLAIMS),
    "a kid that is a path": lambda: forged({**HEADER, "kid": "../../dev/null"}, CLAIMS),
    "a kid that is a number": lambda: forged({**HEADER, "kid": 1}, CLAIMS),
    "a kid of long ago": lambda: forged({**HEADER, "kid": "waggle-1"}, CLAIMS),
    "its own key": lambda: forged({**HEADER, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}}, CLAIMS),
    "the address of a key": lambda: forged({**HEADER, "jku": "http://127.0.0.1/keys"}, CLAIMS),
    "crit": lambda: forged({**HEADER, "crit": ["exp"]}, CLAIMS),
    "another typ": lambda: forged({**HEADER, "typ": "JWT"}, CLAIMS),
    "no typ": lambda: forged({"alg": "Ed25519", "kid": HEADER["kid"]}, CLAIMS),
    **{f"no {name}": lambda name=name: forged(HEADER, {k: v for k, v in CLAIMS.items() if k != name}) for name in CLAIMS},
    "another issuer": lambda: forged(HEADER, {**CLAIMS, "iss": "somebody"}),
    "another audience": lambda: forged(HEADER, {**CLAIMS, "aud": "somebody"}),
    "several audiences": lambda: forged(HEADER, {**CLAIMS, "aud": ["waggle", "somebody"]}),
    "exp as text": lambda: forged(HEADER, {**CLAIMS, "exp": str(CLAIMS["exp"])}),
    "exp as true": lambda: forged(HEADER, {**CLAIMS, "exp": True}),
    "exp as a fraction": lambda: forged(HEADER, {**CLAIMS, "exp": CLAIMS["exp"] + 0.5}),
    "exp without end": lambda: forged(HEADER, {**CLAIMS, "exp": 10**400}),
    "a session that is none": lambda: forged(HEADER, {**CLAIMS, "sid": "x"}),
    "more claims": lambda: forged(HEADER, {**CLAIMS, "role": "admin"}),
    "claims that are no object": lambda: forged(HEADER, ["x"]),  # type: ignore[arg-type]
    "another secret": lambda: tokens(At(), secret="x" * 32).access(SESSION, "anna"),
    "tampered claims": lambda: tampered(tokens(At()).access(SESSION, "anna")),
    "no signature": lambda: tokens(At()).access(SESSION, "anna").rpartition(".")[0] + ".",
    "two parts": lambda: tokens(At()).access(SESSION, "anna").rpartition(".")[0],
    "longer than ours": lambda: tokens(At()).access(SESSION, "a" * 2_000),
    "nothing": lambda: "",
    "dots": lambda: "..",
    "not ASCII": lambda: "é.é.é",
}


def tampered(token: str) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{encoded({**CLAIMS, 'sub': 'admin'})}.{signature}"


def public_key() -> str:
    clock = At()
    raw = Ed25519PrivateKey.from_private_bytes(seed(tokens(clock), clock)).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return raw.hex()


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_token_that_is_not_ours_is_refused(name: str) -> None:
    token = NOT_OURS[name]()
    with pytest.raises(Unauthenticated):
        tokens(At()).read_access(token.encode())


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
