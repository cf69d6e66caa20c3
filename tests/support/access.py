"""Users and keys of a test's own, and answers without what differs from request to request."""

from typing import Any

from support.system import Client, Json, ok

PASSWORD = "correct horse battery staple"


async def user(api: Client, name: str, role: str = "viewer") -> Json:
    """A new user, with PASSWORD."""
    return ok(await api.post("/api/users", json={"name": name, "role": role, "password": PASSWORD}), 201)


async def made(api: Client, **fields: object) -> str:
    """The text of a new key."""
    key: str = ok(await api.post("/api/auth/keys", json={"comment": "a test", **fields}), 201)["key"]
    return key


def without_id(answer: Any) -> tuple[int, Json, dict[str, str]]:
    """An answer without its id and date: status, body, headers."""
    body = {name: value for name, value in answer.json().items() if name != "request_id"}
    return answer.status_code, body, {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
