"""The first version of a type, in the code that a deployment replaces (`WAGGLE_APP=support.version_old:app`)."""

from dataclasses import dataclass

from support.handlers import effect
from waggle import App, Context

app = App()


@dataclass
class Amount:
    """Checks what its schema does not say."""

    cents: int

    def __post_init__(self) -> None:
        if self.cents < 0:
            raise ValueError("cents must not be negative")


@app.task("skew.job", queue="skew")
async def job(ctx: Context, a: int) -> str:
    effect(ctx, "ended")
    return f"old {a}"


@app.task("skew.process", queue="skew", process=True)
def process(ctx: Context, a: int) -> str:
    effect(ctx, "ended")
    return f"old {a}"


@app.task("skew.checked", queue="skew")
async def checked(amount: Amount) -> int:
    return amount.cents
