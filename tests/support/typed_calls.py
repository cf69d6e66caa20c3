"""What a type checker sees of handlers and clients. `test_types.py` checks that mypy finds each marked mistake, and nothing else."""

from datetime import date
from typing import assert_type

from waggle import App, Client, Context, PreparedTask, SyncClient, SyncTaskHandle, TaskHandle, injected

app = App()


class Pool:
    """What a resource opens."""


@app.task("email.send")
async def send_email(ctx: Context, to: str, subject: str = "") -> int:
    return len(f"{ctx.attempt}{to}{subject}")


@app.task("report.render")
def render(month: date, *, pool: Pool = injected) -> str:
    return f"{month}{pool}"


async def of_coroutines(client: Client) -> None:
    handle = await send_email.enqueue(to="anna", subject="hello")
    assert_type(handle, TaskHandle[int])
    assert_type(await handle.result(timeout=1), int)
    assert_type(await (await client.submit(render.prepare(date.today()))).result(), str)  # noqa: DTZ011
    assert_type(await send_email.enqueue_many(send_email.prepare(to) for to in ("a", "b")), list[TaskHandle[int]])
    await send_email.options(delay=60, priority="high").enqueue("anna")
    await send_email.enqueue(too="anna")  # mistake: call-arg
    await send_email.enqueue(to=1)  # mistake: arg-type
    await send_email.enqueue()  # mistake: call-arg
    send_email.options(dely=60)  # mistake: call-arg
    await render.enqueue("2026-11")  # mistake: arg-type


def of_threads(client: SyncClient) -> None:
    assert_type(send_email.prepare("anna"), PreparedTask[int])
    assert_type(client.submit(send_email.prepare("anna")), SyncTaskHandle[int])
    assert_type(client.submit(send_email.prepare("anna")).result(), int)


async def of_calls(ctx: Context) -> None:
    assert_type(await send_email(ctx, "anna"), int)
    assert_type(render(date.today(), pool=Pool()), str)  # noqa: DTZ011
    await send_email("anna")  # mistake: call-arg, arg-type
