"""Signing in at an identity provider: OpenID Connect with an authorisation code and PKCE (RFC 7636).

What a login needs until the user comes back (state, nonce, verifier) is in a cookie of their browser, signed and good for ten minutes, so that any API can
finish it. What the provider publishes is read when it is needed, and kept: an old key set stays while the provider does not answer.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import aiohttp
import jwt
import msgspec

from waggle.scopes import Role
from waggle_api.refusals import Forbidden, Unauthenticated, Unavailable

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
SECONDS: Final = 10.0  # for an answer of the provider
ANSWER_BYTES: Final = 1 << 20
KEPT_SECONDS: Final = 3600.0  # what it publishes
AGAIN_SECONDS: Final = 30.0  # before an unknown key makes us ask again
LOGIN_SECONDS: Final = 600
CLOCK_SECONDS: Final = 60
_PURPOSE: Final = b"waggle logins at a provider 1"


class ProviderSettings(NamedTuple):
    """`roles`: of each group that may come in. `callback`: our address, as the browser and the provider know it."""

    issuer: str
    client_id: str
    client_secret: str
    callback: str
    scopes: tuple[str, ...]
    groups_claim: str
    roles: Mapping[str, Role]


class LoginBegun(msgspec.Struct, frozen=True):
    """A login that has begun."""

    state: str
    nonce: str
    verifier: str
    until: int


class SignedInThere(NamedTuple):
    """Who came back: `subject` is theirs for good, `name` what people call them."""

    subject: str
    name: str
    role: Role


class Provider:
    """An identity provider. `clock` is in seconds since 1970."""

    def __init__(self, settings: ProviderSettings, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._key = hmac.digest(secret.encode(), _PURPOSE, "sha256")
        self.cookie_name = f"__Host-waggle-login-{hmac.digest(self._key, b'name', 'sha256').hex()[:8]}".encode()
        self._published: dict[str, Any] = {}
        self._keys: dict[str, dict[str, Any]] = {}
        self._read_at = self._keys_at = -KEPT_SECONDS
        self._lock = asyncio.Lock()

    async def begin(self) -> tuple[str, str]:
        """Where to send the browser, and the cookie that it keeps meanwhile. Raises Unavailable."""
        published = await self._discovered()
        pending = LoginBegun(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), int(self._clock()) + LOGIN_SECONDS)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.callback,
            "scope": " ".join(self._settings.scopes),
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        place = str(published["authorization_endpoint"])
        return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}", self._sealed(pending)

    async def finish(self, cookie: bytes | None, state: str, code: str) -> SignedInThere:
        """Who signed in. Raises Unauthenticated, Forbidden for who is in no group that may come in, or Unavailable."""
        pending = self._opened(cookie)
        if not hmac.compare_digest(pending.state.encode(), state.encode()):
            raise Unauthenticated("the state of another login")
        published = await self._discovered()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._settings.callback,
            "code_verifier": pending.verifier,
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
        }
        answer = await self._ask("POST", published["token_endpoint"], data=form)
        claims = await self._checked(str(answer.get("id_token", "")), pending.nonce)
        token = str(answer.get("access_token", ""))
        more = await self._ask("GET", published["userinfo_endpoint"], headers={"Authorization": f"Bearer {token}"}) if "userinfo_endpoint" in published else {}
        if more.get("sub", claims["sub"]) != claims["sub"]:
            raise Unauthenticated("the provider tells of somebody else")
        return self._admitted({**claims, **more})

    def _admitted(self, claims: dict[str, Any]) -> SignedInThere:
        """Raises Forbidden."""
        given = claims.get(self._settings.groups_claim, [])
        groups = [given] if isinstance(given, str) else [group for group in given if isinstance(group, str)] if isinstance(given, list) else []
        roles = [self._settings.roles[group] for group in groups if group in self._settings.roles]
        if not roles:
            raise Forbidden("you are in no group that may use this Waggle")
        verified = claims.get("email") if claims.get("email_verified") is True else None
        name = next((text for text in (claims.get("preferred_username"), verified, claims["sub"]) if isinstance(text, str) and text), "")
        return SignedInThere(f"{self._settings.issuer} {claims['sub']}", name.lower(), max(roles, key=list(Role).index))

    async def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an ID token (OpenID Connect Core, section 3.1.3.7). Raises Unauthenticated."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header["alg"]
            if algorithm not in ALGORITHMS:
                raise Unauthenticated("an ID token with another algorithm")
            key = jwt.PyJWK({**await self._key_of(str(header.get("kid", ""))), "alg": algorithm}).key
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.client_id,
                issuer=self._settings.issuer,
                leeway=CLOCK_SECONDS,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
            raise Unauthenticated(f"an ID token that cannot be used: {type(error).__name__}") from error
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims.get("nonce") != nonce or not isinstance(claims["sub"], str) or (len(audiences) > 1 and claims.get("azp") != self._settings.client_id):
            raise Unauthenticated("an ID token for another login")
        return dict(claims)

    async def _key_of(self, kid: str) -> dict[str, Any]:
        """A key of the provider. One that is not known makes us ask again, but not all the time. Raises KeyError or Unavailable."""
        async with self._lock:
            now = time.monotonic()
            if (kid not in self._keys and now - self._keys_at > AGAIN_SECONDS) or now - self._keys_at > KEPT_SECONDS:
                try:
                    found = await self._ask("GET", self._published["jwks_uri"])
                    self._keys = {str(key.get("kid", "")): key for key in found["keys"] if key.get("use", "sig") == "sig"}
                    self._keys_at = now
                except Unavailable:
                    if kid not in self._keys:
                        raise
        return self._keys[kid]

    async def _discovered(self) -> dict[str, Any]:
        """What the provider publishes of itself. Raises Unavailable."""
        async with self._lock:
            if time.monotonic() - self._read_at > KEPT_SECONDS:
                found = await self._ask("GET", f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self._settings.issuer or not {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= found.keys():
                    raise Unavailable("the identity provider is another one than WAGGLE_OIDC_ISSUER says")
                self._published, self._read_at = found, time.monotonic()
        return self._published

    async def _ask(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        """The JSON object that the provider answers. Raises Unauthenticated for a 4xx, Unavailable if there is none."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS), trust_env=True) as session,
                session.request(method, url, allow_redirects=False, **request) as answer,
            ):
                text = await answer.content.read(ANSWER_BYTES)
                if 400 <= answer.status < 500:
                    raise Unauthenticated(f"the identity provider answers {answer.status}", counts=False)
                found = json.loads(text)
                if answer.status == 200 and isinstance(found, dict):
                    return found
                raise Unavailable(f"the identity provider answers {answer.status}")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable("the identity provider does not answer") from error

    def _sealed(self, pending: LoginBegun) -> str:
        text = base64.urlsafe_b64encode(msgspec.json.encode(pending)).rstrip(b"=").decode()
        return f"{text}.{hmac.digest(self._key, text.encode(), 'sha256').hex()}"

    def _opened(self, cookie: bytes | None) -> LoginBegun:
        """Raises Unauthenticated."""
        text, _, mac = (cookie or b"").partition(b".")
        if not hmac.compare_digest(mac, hmac.digest(self._key, text, "sha256").hex().encode()):
            raise Unauthenticated("no login has begun in this browser", counts=False)
        pending = msgspec.json.decode(base64.urlsafe_b64decode(text + b"=="), type=LoginBegun)
        if pending.until < self._clock():
            raise Unauthenticated("the login took too long", counts=False)
        return pending
