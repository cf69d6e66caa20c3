"""The second version of a type: it has a field more (`WAGGLE_APP=support.version_new:app`)."""

from support.handlers import effect
from waggle import App, Context

app = App()


@app.task("skew.job", queue="skew", timeout=60)
async def job(ctx: Context, a: int, b: str = "") -> str:
    effect(ctx, "ended")
    return f"new {a}{b}"


@app.task("skew.process", queue="skew", process=True)
def process(ctx: Context, a: int, b: str = "") -> str:
    effect(ctx, "ended")
    return f"new {a}{b}"
