"""What callers of the API may do: scopes, and the roles of users as sets of them. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Scope(StrEnum):
    """What a route needs. `public` and `signed_in` are no scopes that a key can hold: a route with the first asks nobody who they are."""

    PUBLIC = "public"
    SIGNED_IN = "signed_in"
    TASKS_READ = "tasks:read"
    TASKS_WRITE = "tasks:write"
    PAYLOADS_READ = "payloads:read"
    DLQ_READ = "dlq:read"
    DLQ_WRITE = "dlq:write"
    QUEUES_WRITE = "queues:write"
    ADMIN = "admin"


GRANTED: Final = frozenset(Scope) - {Scope.PUBLIC, Scope.SIGNED_IN}
"""The scopes that keys and roles hold."""

VIEWER: Final = frozenset({Scope.TASKS_READ, Scope.DLQ_READ})
OPERATOR: Final = GRANTED - {Scope.ADMIN}


class Role(StrEnum):
    """A viewer reads, but no payloads; an operator does everything with tasks; an admin also decides who may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


ROLES: Final[Mapping[Role, frozenset[Scope]]] = MappingProxyType({Role.VIEWER: VIEWER, Role.OPERATOR: OPERATOR, Role.ADMIN: GRANTED})


def held(scopes: Iterable[str]) -> frozenset[Scope]:
    """What these scopes allow together: an admin may do everything. One that this version does not know allows nothing."""
    known = frozenset(Scope(name) for name in scopes if name in GRANTED)
    return GRANTED if Scope.ADMIN in known else known
