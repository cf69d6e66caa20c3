"""The second version of a type: it has a field more (`WAGGLE_APP=support.version_new:app`)."""

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


@app.task("skew.job", queue="skew", timeout=60)
async def job(ctx: Context, a: int, b: str = "") -> str:
    effect(ctx, "ended")
    return f"new {a}{b}"


@app.task("skew.process", queue="skew", process=True)
def process(ctx: Context, a: int, b: str = "") -> str:
    effect(ctx, "ended")
    return f"new {a}{b}"


@app.task("skew.checked", queue="skew")
async def checked(amount: Amount, b: str = "") -> int:
    return amount.cents
