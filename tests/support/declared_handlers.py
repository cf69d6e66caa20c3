"""Handlers declared in every way that works (`WAGGLE_APP=support.declared_handlers:app`): wrapped, bound, partial, with models as parameters."""

import asyncio
import contextvars
import functools
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import pydantic

from support.handlers import effect
from waggle import App, Backoff, Context, Reject, Retry, Secret
from waggle.errors import TaskError

app = App()

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("REQUEST", default="none")


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain decorator around a function that may be async, as many projects have one."""

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> object:
        REQUEST.set(f"set in {threading.current_thread().name.partition('_')[0]}")
        return function(*args, **kwargs)

    return call


@app.task("declared.wrapped")
@timed
async def wrapped(ctx: Context, n: int) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"n": n, "on the loop": threading.current_thread() is threading.main_thread(), "request": REQUEST.get()}


@app.task("declared.wrapped-twice")
@timed
@timed
async def wrapped_twice() -> Awaitable[int]:
    """Returns something to await once more."""
    return five()


async def five() -> int:
    return 5


@app.task("declared.wrapped-rejects")
@timed
async def wrapped_rejects() -> None:
    raise Reject("never")


@app.task("declared.wrapped-sleeps", max_retries=0)
@timed
async def wrapped_sleeps(ctx: Context, seconds: float) -> None:
    effect(ctx, "began")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        effect(ctx, "cancelled")
        raise


@app.task("declared.wrapped-process", process=True)
@timed
async def wrapped_in_a_process(n: int) -> int:
    await asyncio.sleep(0.01)
    return n


@timed
async def tidy(ctx: Context, error: TaskError) -> None:
    await asyncio.sleep(0)
    effect(ctx, f"cleaned:{threading.current_thread() is threading.main_thread()}")


class Tidier:
    async def __call__(self, ctx: Context, error: TaskError) -> None:
        effect(ctx, f"cleaned:{error.code}")


def with_request(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that leaves something in the context, as `timed` does not."""

    @functools.wraps(hook)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        REQUEST.set("set by a decorator")
        return hook(*args, **kwargs)

    return wrapper


@with_request
async def tidy_in_context(ctx: Context, error: TaskError) -> None:
    effect(ctx, f"cleaned:{REQUEST.get() == 'set by a decorator'}")


@app.task("declared.hook-in-context", cleanup=tidy_in_context, max_retries=0)
async def owes_a_hook_in_context() -> None:
    raise RuntimeError("so that the hook is due")


@app.task("declared.wrapped-hook", cleanup=tidy, max_retries=0)
async def owes_a_wrapped_hook() -> None:
    raise RuntimeError("so that the hook is due")


@app.task("declared.object-hook", cleanup=Tidier(), max_retries=0)
async def owes_the_hook_of_an_object() -> None:
    raise RuntimeError("so that the hook is due")


class Greeter:
    def __init__(self, greeting: str) -> None:
        self._greeting = greeting

    def __call__(self, name: str) -> str:
        return f"{self._greeting} {name}"

    async def later(self, ctx: Context, name: str) -> str:
        await asyncio.sleep(0)
        return f"{self._greeting} {name}, attempt {ctx.attempt}"


class AsyncGreeter(Greeter):
    async def __call__(self, name: str) -> str:  # type: ignore[override]
        await asyncio.sleep(0)
        return f"{self._greeting} {name}, on the loop: {threading.current_thread() is threading.main_thread()}"


app.task("declared.object")(Greeter("hello"))
app.task("declared.async-object")(AsyncGreeter("hello"))
app.task("declared.method")(Greeter("good morning").later)
app.task("declared.partial")(functools.partial(Greeter("hello"), name="bee"))


def fails() -> None:
    raise RuntimeError("on request")


def twice_as_long(attempt: int) -> float:
    return 0.25 * 2**attempt


def no_wait(attempt: int) -> float:
    raise LookupError(f"no wait for {attempt}")


BACKOFFS: dict[str, Any] = {
    "fixed": Backoff.fixed(0.3),
    "linear": Backoff.linear(0.2, cap=0.3),
    "exponential": Backoff.exponential(0.1, factor=3, cap=0.5, jitter=0.0),
    "jitter": Backoff.fixed(0.4, jitter=0.5),
    "function": twice_as_long,
    "raises": no_wait,
    "exits": lambda _: sys.exit(1),
    "nan": lambda _: float("nan"),
    "negative": lambda _: -1.0,
    "too-large": lambda _: 1e10,
    "text": lambda _: "1",
}
for _name, _backoff in BACKOFFS.items():
    app.task(f"backoff.{_name}", max_retries=2, backoff=_backoff)(fails)


@app.task("backoff.asks", max_retries=1, backoff=Backoff.fixed(0.4))
async def asks(after: float | None = None) -> None:
    raise Retry(after)


@app.task("backoff.process", max_retries=1, backoff=twice_as_long, process=True)
def fails_in_a_process() -> None:
    raise RuntimeError("on request")


class Line(pydantic.BaseModel):
    article: str
    count: int = pydantic.Field(default=1, ge=1)


class Order(pydantic.BaseModel):
    lines: list[Line]
    card: pydantic.SecretStr = pydantic.SecretStr("")


class Address(msgspec.Struct):
    street: str
    zip: Annotated[str, msgspec.Meta(pattern="^[0-9]{5}$")]


@app.task("declared.models")
async def models(order: Order, to: Address, note: Line | None = None, token: Annotated[str, Secret] = "") -> Line:
    assert isinstance(order, Order)
    assert isinstance(to, Address)
    return Line(article=f"{to.street}: {','.join(line.article for line in order.lines)}", count=sum(line.count for line in order.lines))
