"""Tokens of a session: short-lived access tokens (JWT, RFC 9068) and the refresh tokens that bring new ones.

All keys follow from the installation's secret, so every API has the same ones and none is stored. The signing key changes every KEY_DAYS by itself: a token
names its key (`kid`), and the keys before and after are known, too. The next key is published long before it signs, because clients cache a key set.
"""

import hmac
import time
from collections.abc import Callable
from typing import Any, Final, Literal
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm
from jwt.utils import base64url_encode

from waggle_api.refusals import Unauthenticated

Algorithm = Literal["Ed25519", "HS256"]

ACCESS_SECONDS: Final = 900.0
KEY_DAYS: Final = 30
CLOCK_SECONDS: Final = 60.0  # how far the clocks of two APIs may differ: a token from the future is refused beyond that
TYPE: Final = "at+jwt"
AUDIENCE: Final = "waggle"
LONGEST: Final = 2_048
CLAIMS: Final = ("iss", "aud", "exp", "iat", "sub", "jti", "sid")
REFRESH: Final = "wgr"
COOKIE: Final = "wgs"
_PURPOSES: Final = {"access": b"waggle access tokens 1 ", "refresh": b"waggle refresh tokens 1", "cookie": b"waggle cookies 1", "csrf": b"waggle csrf tokens 1"}

if "Ed25519" not in jwt.algorithms.get_default_algorithms():  # its name since RFC 9864; PyJWT 2.15 knows the one before
    jwt.register_algorithm("Ed25519", OKPAlgorithm())


class Expired(ValueError):
    """It was ours."""


class Tokens:
    """Makes and reads the tokens of an installation. `clock` is in seconds since 1970."""

    def __init__(self, secret: str, issuer: str, algorithm: Algorithm, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._issuer, self._algorithm, self._clock = secret.encode(), issuer, algorithm, clock
        self._refresh_key, self._cookie_key, self._csrf_key = (hmac.digest(self._secret, _PURPOSES[name], "sha256") for name in ("refresh", "cookie", "csrf"))
        # A browser sends one host's cookies to all its ports: two installations on a machine need two names.
        self.cookie_name = f"__Host-waggle-{hmac.digest(self._cookie_key, b'name', 'sha256').hex()[:8]}".encode()
        self._keys: dict[int, bytes] = {}

    def access(self, session_id: UUID, name: str) -> str:
        """An access token for this session of this user; it lives for ACCESS_SECONDS."""
        now = int(self._clock())
        claims = {"iss": self._issuer, "aud": AUDIENCE, "exp": now + int(ACCESS_SECONDS), "iat": now, "sub": name, "jti": uuid4().hex, "sid": session_id.hex}
        period = self._period()
        return jwt.encode(claims, self._signing_key(period), algorithm=self._algorithm, headers={"typ": TYPE, "kid": self._kid(period)})

    def read_access(self, text: bytes) -> tuple[UUID, float]:
        """The session of an access token, and for how many seconds the token still lives. Raises Unauthenticated."""
        try:
            return self._read(text)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthenticated(f"no valid access token: {error}", counts=not isinstance(error, Expired)) from None

    def _read(self, text: bytes) -> tuple[UUID, float]:
        if len(text) > LONGEST:
            raise ValueError("longer than ours")
        token = text.decode("ascii")
        header = jwt.get_unverified_header(token)
        if set(header) != {"alg", "typ", "kid"} or header["typ"] != TYPE or header["alg"] != self._algorithm:
            raise ValueError("another header")  # such as `jwk` or `crit`: we write none
        period = next((known for known in self._periods() if self._kid(known) == header["kid"]), None)
        if period is None:
            raise ValueError("another key")
        claims = jwt.decode(
            token,
            self._verifying_key(period),
            algorithms=[self._algorithm],
            audience=AUDIENCE,
            issuer=self._issuer,
            options={"require": list(CLAIMS), "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
        return self._session(claims)

    def _session(self, claims: dict[str, Any]) -> tuple[UUID, float]:
        """PyJWT takes a text as `exp` and a list as `aud`; we write neither."""
        now, expires, issued = self._clock(), claims["exp"], claims["iat"]
        if not all(type(moment) is int for moment in (expires, issued)) or not all(isinstance(claims[name], str) for name in ("aud", "sub", "jti", "sid")):
            raise ValueError("a claim of another type")
        if set(claims) != set(CLAIMS):
            raise ValueError("other claims")
        if expires <= now or issued > now + CLOCK_SECONDS:
            raise Expired("expired, or from the future")
        return UUID(hex=claims["sid"]), expires - now

    def refresh(self, session_id: UUID, generation: int) -> str:
        """The refresh token of this generation of a session. It is always the same one, so none is stored."""
        start = f"{REFRESH}_{session_id.hex}_{generation}"
        return f"{start}_{hmac.digest(self._refresh_key, start.encode(), 'sha256').hex()}"

    def read_refresh(self, text: str) -> tuple[UUID, int]:
        """The session and the generation of a refresh token. Raises Unauthenticated."""
        try:
            _, session, generation, _ = text.split("_")
            found = UUID(hex=session), int(generation)
        except ValueError:
            raise Unauthenticated("no refresh token") from None
        if not (text.isascii() and hmac.compare_digest(text, self.refresh(*found))):
            raise Unauthenticated("no refresh token of ours")
        return found

    def cookie(self, session_id: UUID) -> str:
        """What a browser keeps of a session."""
        start = f"{COOKIE}_{session_id.hex}"
        return f"{start}_{hmac.digest(self._cookie_key, start.encode(), 'sha256').hex()}"

    def read_cookie(self, text: bytes) -> UUID:
        """The session of a cookie. Raises Unauthenticated."""
        try:
            _, session, _ = text.decode("ascii").split("_")
            found = UUID(hex=session)
        except ValueError:
            raise Unauthenticated("no cookie of ours") from None
        if not hmac.compare_digest(text, self.cookie(found).encode()):
            raise Unauthenticated("no cookie of ours")
        return found

    def csrf(self, session_id: UUID) -> str:
        """What a page of ours must send with each write of this session: other pages cannot read it."""
        return hmac.digest(self._csrf_key, session_id.bytes, "sha256").hex()[:32]

    def key_set(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JWK Set (RFC 7517): the ones before, now and next. Empty with HS256, whose keys are secret.

        A key names no `alg`: libraries disagree whether it is called Ed25519 or EdDSA.
        """
        if self._algorithm == "HS256":
            return {"keys": []}
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self._kid(period), "x": self._public(period)} for period in self._periods()]}

    def _period(self) -> int:
        return int(self._clock() // (KEY_DAYS * 86_400))

    def _periods(self) -> tuple[int, int, int]:
        now = self._period()
        return now - 1, now, now + 1

    def _kid(self, period: int) -> str:
        return f"waggle-{period}"

    def _seed(self, period: int) -> bytes:
        found = self._keys.get(period)
        if found is None:
            found = self._keys[period] = hmac.digest(self._secret, _PURPOSES["access"] + str(period).encode(), "sha256")
        return found

    def _signing_key(self, period: int) -> Any:
        seed = self._seed(period)
        return seed if self._algorithm == "HS256" else Ed25519PrivateKey.from_private_bytes(seed)

    def _verifying_key(self, period: int) -> Any:
        key = self._signing_key(period)
        return key if self._algorithm == "HS256" else key.public_key()

    def _public(self, period: int) -> str:
        raw = Ed25519PrivateKey.from_private_bytes(self._seed(period)).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64url_encode(raw).decode()
