"""The first version of a type, in the code that a deployment replaces (`WAGGLE_APP=support.version_old:app`)."""

from support.handlers import effect
from waggle import App, Context

app = App()


@app.task("skew.job", queue="skew")
async def job(ctx: Context, a: int) -> str:
    effect(ctx, "ended")
    return f"old {a}"


@app.task("skew.process", queue="skew", process=True)
def process(ctx: Context, a: int) -> str:
    effect(ctx, "ended")
    return f"old {a}"
