"""A task type as programs submit it: by a call with its fields as arguments."""

import copy
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, Unpack

import msgspec

from waggle import declarations, models

if TYPE_CHECKING:
    from waggle.client.aio.client import Client, TaskHandle
    from waggle.client.new_task import PreparedTask, TaskOptions

Fields = ParamSpec("Fields")
R = TypeVar("R")

omitted: Any = object()
"""The default of a field that is left out of the payload unless it is given."""


class Submittable(Generic[Fields, R]):
    """Submits tasks of a type by the client that `client` returns. `annotated` says what a result is, `fields` what is in the payload."""

    def __init__(self, name: str, client: "Callable[[], Client]", annotated: Callable[..., Any], fields: inspect.Signature) -> None:
        self.name, self._annotated = name, annotated
        self._client, self._fields = client, fields
        self._options: TaskOptions = {}

    def options(self, **options: "Unpack[TaskOptions]") -> Self:
        """The same type, for tasks that ask for this besides: `send_email.options(delay=60).enqueue(…)`."""
        other = copy.copy(self)
        other._options = {**self._options, **options}
        return other

    def prepare(self, /, *args: Fields.args, **kwargs: Fields.kwargs) -> "PreparedTask[R]":
        """A task of this type, for `enqueue_many`, `Client.submit` and `SyncClient.submit`. Raises TypeError as a call does."""
        from waggle.client.new_task import PreparedTask

        bound = self._fields.bind(*args, **kwargs)
        payload = bound.arguments
        for name, parameter in self._fields.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                payload |= payload.pop(name, {})
        return PreparedTask(self.name, payload, self._options, self._returns)

    async def enqueue(self, /, *args: Fields.args, **kwargs: Fields.kwargs) -> "TaskHandle[R]":
        """Submit a task by the client of the app; it is stored when this returns. Raises what `Client` raises."""
        return await self._client().submit(self.prepare(*args, **kwargs))

    async def enqueue_many(self, tasks: "Iterable[PreparedTask[R]]") -> "list[TaskHandle[R]]":
        """Submit tasks that `prepare` made, 1,000 in a request: `send_email.enqueue_many(send_email.prepare(to=to) for to in everybody)`.

        Raises TypeError after `options`: each task has those with which it was prepared.
        """
        if self._options:
            raise TypeError("enqueue_many takes tasks that are prepared: write send_email.enqueue_many(send_email.options(…).prepare(…) …)")
        return await self._client().submit_many(tasks)

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    @property
    def _returns(self) -> Any:
        """The annotated type of its result; Any where that cannot be read from JSON."""
        try:
            returns = declarations.result(f"task {self.name}", self._annotated)
            msgspec.json.Decoder(returns, dec_hook=models.decoded)
        except Exception:  # an annotation for type checkers only, or whatever a type's own code raises
            return Any
        return Any if returns is None else returns
