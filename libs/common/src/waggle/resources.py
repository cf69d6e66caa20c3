"""Resources as users declare them: `@app.resource` makes what a generator yields (a pool, a client) a parameter of handlers, found by its type."""

import inspect
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

from waggle import declarations
from waggle.context import Context

YIELDED: Final = (abc.AsyncIterator, abc.AsyncGenerator, abc.AsyncIterable, abc.Iterator, abc.Generator, abc.Iterable)
PLAIN: Final = (None, type(None), Any, Union, UnionType, Context, object, bool, int, float, str, bytes, list, dict, tuple, set, frozenset)


class Resource(NamedTuple):
    """A generator function that yields a `type` once a process. `needs`: the resources that it takes itself, by parameter."""

    function: Callable[..., Any]
    type: Any
    needs: Mapping[str, "Resource"]

    @property
    def is_async(self) -> bool:
        return inspect.isasyncgenfunction(self.function)

    @property
    def name(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


class Declared:
    """The resources of an app, by what they yield."""

    def __init__(self) -> None:
        self._by_type: dict[Any, Resource] = {}

    def add(self, function: Callable[..., Any]) -> None:
        """Raises TypeError for what cannot be a resource, ValueError for a second one of the same type."""
        owner = f"resource {declarations.place(function)}"
        if not inspect.isasyncgenfunction(function) and not inspect.isgeneratorfunction(function):
            raise TypeError(f"{owner} is no generator function: write one with a single yield, without @contextmanager and without parentheses")
        kind = _yielded(function, owner)
        needs = {}
        for parameter in declarations.parameters(owner, function):
            if parameter.annotation not in self:
                raise TypeError(f"{owner}: no resource that was declared before it yields the type of its parameter {parameter.name!r}")
            needs[parameter.name] = self._by_type[parameter.annotation]
        self._put(Resource(function, kind, needs))

    def include(self, other: "Declared") -> None:
        """Add those of another app. Raises ValueError where both have one for the same type."""
        for resource in other._by_type.values():
            if self._by_type.get(resource.type) is not resource:
                self._put(resource)

    def get(self, kind: Any) -> Resource | None:
        """The one that yields this type."""
        return self._by_type[kind] if kind in self else None

    def __contains__(self, kind: Any) -> bool:
        try:
            return kind in self._by_type
        except TypeError:  # an annotation that has no hash
            return False

    def _put(self, resource: Resource) -> None:
        if resource.type in self._by_type:
            first, second = declarations.place(self._by_type[resource.type].function), declarations.place(resource.function)
            raise ValueError(f"two resources yield {declarations.named(resource.type)}: {first} and {second}")
        self._by_type[resource.type] = resource


def in_order(wanted: Iterable[Resource]) -> list[Resource]:
    """These and all that they need, each after what it needs."""
    found: dict[int, Resource] = {}

    def take(resource: Resource) -> None:
        for need in resource.needs.values():
            take(need)
        found.setdefault(id(resource), resource)

    for resource in wanted:
        take(resource)
    return list(found.values())


def _yielded(function: Callable[..., Any], owner: str) -> Any:
    """What the annotation says that a generator yields. Raises TypeError."""
    hint = declarations.result(owner, function)
    kinds = get_args(hint)
    if get_origin(hint) not in YIELDED or not kinds:
        iterator = "AsyncIterator" if inspect.isasyncgenfunction(function) else "Iterator"
        raise TypeError(f"{owner} does not say what it yields: annotate it as -> {iterator}[…]")
    kind = kinds[0]
    if (get_origin(kind) or kind) in PLAIN:
        raise TypeError(f"{owner} yields {declarations.named(kind)}, which does not tell it from a field of a payload: yield an object of a class")
    return kind
