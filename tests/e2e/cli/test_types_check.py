"""`waggle types show` and `check`: whether code takes what is live and what waits, before it is deployed."""

import json
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command_line import Called

Run = Callable[[str], Called]

CODE = """
from waggle import App, Context

app = App()


@app.task("email.send", queue="mail", max_retries=5)
async def send({parameters}) -> None: ...
"""


@pytest.fixture
def code(folder: Path) -> Callable[[str], str]:
    """Somebody's code with this signature; the name of its app."""

    def write(parameters: str) -> str:
        name = f"code_{abs(hash(parameters))}"
        (folder / f"{name}.py").write_text(CODE.format(parameters=parameters))
        return f"{name}:app"

    return write


def test_a_type_is_shown_with_its_versions_and_who_serves_each(cli: Run) -> None:
    shown = cli("types show email.send")
    assert shown.code == 0
    assert "VERSION" in shown.out
    found = json.loads(cli("types show email.send -o json").out)
    (version,) = found["versions"]
    assert version["version"] in shown.out
    assert version["workers"][0] in shown.out


def test_code_that_takes_all_that_is_live_is_fine(cli: Run, code: Callable[[str], str]) -> None:
    same = cli(f"types check --app {code('ctx: Context, to: str, subject: str, body: str = str()')}")
    assert (same.code, same.out.split()) == (0, ["TYPE", "CHECK", "WHAT", "email.send", "ok", "as", "it", "is", "live"])
    wider = cli(f"types check --app {code('to: str | int, subject: str = str(), body: str = str(), copy: str = str()')}")
    assert (wider.code, "takes all that is taken today" in wider.out) == (0, True)


def test_code_that_breaks_what_is_live_or_waits_is_exit_code_1_with_what_breaks(cli: Run, code: Callable[[str], str]) -> None:
    submitted = cli("""tasks submit email.send --payload '{"to": "bee@hive.example", "subject": "later"}' --delay 3600 -o json""")
    task = json.loads(submitted.out)["id"]
    try:
        app = code("to: str, body: str = str(), title: str = str()")
        run = cli(f"types check --app {app}")
        assert run.code == 1
        lines = [line.split(maxsplit=2) for line in run.out.splitlines()[1:]]
        assert lines[0] == ["email.send", "breaks", "subject is no longer a field"]
        assert lines[1][2].startswith("1 of 1 waiting tasks cannot be read, such as ")
        (found,) = json.loads(cli(f"types check --app {app} -o json").out)["items"]
        assert (found["change"], found["tried"], len(found["problems"])) == ("changed", 1, 2)
        assert cli(f"types check --app {app} -o jsonl").code == 1
    finally:
        cli(f"tasks cancel {task}")
    again = cli(f"types check --app {app}")
    assert (again.code, "waiting tasks" in again.out) == (1, False)


def test_code_that_cannot_be_loaded_is_wrong_usage(cli: Run) -> None:
    run = cli("types check --app no_such_module:app")
    assert (run.code, run.out) == (2, "")
    assert "no_such_module" in run.err


def test_a_stub_is_a_module_that_submits(cli: Run) -> None:
    shop = types.ModuleType("shop_types")
    exec(cli("types stub email.send demo.echo").out, shop.__dict__)  # noqa: S102  # what the test is about
    assert (
        b'{"type":"email.send","payload":{"to":"bee@hive.example","subject":"hello"}}' in shop.email_send.prepare(to="bee@hive.example", subject="hello").text
    )
    assert "def demo_echo" in cli("types stub").out
    missing = cli("types stub email.send no.such")
    assert (missing.code, missing.out) == (3, "")
