"""Access tokens that are not ours: each is wrong in one thing. The forger has our key, where the content is what is wrong."""

import base64
import hmac
import json
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from waggle_api.edge.tokens import CLOCK_SECONDS, Tokens


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return json.loads(base64.urlsafe_b64decode(header + "==")), json.loads(base64.urlsafe_b64decode(claims + "==")), signature


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def hs256(header: dict[str, Any], claims: object, key: bytes) -> str:
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), 'sha256')).rstrip(b'=').decode()}"


class Forger:
    """Makes tokens with the keys of `ours`, after a good one."""

    def __init__(self, ours: Tokens, good: str) -> None:
        self._good = good
        self.header, self.claims, _ = parts(good)
        self._key = Ed25519PrivateKey.from_private_bytes(ours._seed(ours._period()))

    def forged(self, header: dict[str, Any], claims: object) -> str:
        """A token with another header or other claims, and a signature of our own key."""
        signed = f"{encoded(header)}.{encoded(claims)}".encode()
        return f"{signed.decode()}.{base64.urlsafe_b64encode(self._key.sign(signed)).rstrip(b'=').decode()}"

    def all(self) -> dict[str, str]:
        """By what is wrong with each."""
        header, claims, forged = self.header, self.claims, self.forged
        start, _, signature = self._good.rpartition(".")
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {
            "alg none": f"{encoded({**header, 'alg': 'none'})}.{encoded(claims)}.",
            "alg none, signed": forged({**header, "alg": "none"}, claims),
            "HS256 with the public key": hs256({**header, "alg": "HS256"}, claims, public),
            "the older name of the algorithm": forged({**header, "alg": "EdDSA"}, claims),
            "no kid": forged({"alg": "Ed25519", "typ": "at+jwt"}, claims),
            "a kid that is a path": forged({**header, "kid": "../../dev/null"}, claims),
            "a kid that is a number": forged({**header, "kid": 1}, claims),
            "a kid of long ago": forged({**header, "kid": "waggle-1"}, claims),
            "its own key": forged({**header, "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}}, claims),
            "the address of a key": forged({**header, "jku": "http://127.0.0.1/keys"}, claims),
            "crit": forged({**header, "crit": ["exp"]}, claims),
            "another typ": forged({**header, "typ": "JWT"}, claims),
            "no typ": forged({"alg": "Ed25519", "kid": header["kid"]}, claims),
            **{f"no {name}": forged(header, {k: v for k, v in claims.items() if k != name}) for name in claims},
            "another issuer": forged(header, {**claims, "iss": "somebody"}),
            "another audience": forged(header, {**claims, "aud": "somebody"}),
            "several audiences": forged(header, {**claims, "aud": ["waggle", "somebody"]}),
            "exp as text": forged(header, {**claims, "exp": str(claims["exp"])}),
            "exp as true": forged(header, {**claims, "exp": True}),
            "exp as a fraction": forged(header, {**claims, "exp": claims["exp"] + 0.5}),
            "exp without end": forged(header, {**claims, "exp": 10**400}),
            "expired a second ago": forged(header, {**claims, "exp": claims["iat"] - 1}),
            "from the future": forged(header, {**claims, "iat": claims["iat"] + int(CLOCK_SECONDS) + 30}),
            "a session that is none": forged(header, {**claims, "sid": "x"}),
            "more claims": forged(header, {**claims, "role": "admin"}),
            "claims that are no object": forged(header, ["x"]),
            "a short key of somebody": hs256({**header, "alg": "HS256"}, claims, b"short"),
            "another secret": Tokens("x" * 32, claims["iss"], "Ed25519", lambda: claims["iat"]).access(UUID(hex=claims["sid"]), claims["sub"]),
            "tampered claims": f"{encoded(header)}.{encoded({**claims, 'sub': 'admin'})}.{signature}",
            "tampered signature": f"{start}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
            "no signature": start + ".",
            "two parts": start,
            "longer than ours": forged(header, {**claims, "sub": "a" * 2_000}),
            "dots": "..",
        }
