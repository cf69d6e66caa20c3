"""`waggle keys`, `users`, `login` and `logout` as people and scripts use them."""

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import access, up, waggle
from support.keys import API_SECRET
from support.processes import launch
from support.servers import NatsServer
from support.system import Services, System, client_of
from waggle.api_keys import parse

Json = dict[str, Any]
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def running(session_folder: Path) -> Iterator[Json]:
    """A `waggle up` of this module's own: users and keys are for all of it."""
    place = session_folder / "access"
    place.mkdir(mode=0o711)
    with up(place=place, output=place / "output.txt") as facts:
        yield {**facts, "place": place, "said": (place / "output.txt").read_text()}


@pytest.fixture
def home(folder: Path) -> dict[str, str]:
    """A home of this test's own, for logins."""
    return {"XDG_CONFIG_HOME": str(folder / "config")}


@pytest.fixture
def run(running: Json, home: dict[str, str]) -> Run:
    """Run a command in the folder of that `waggle up`, or in another one, without its key."""
    return lambda *arguments, place=running["place"], **more: waggle(*arguments, place=place, **{**home, **more})


def test_a_key_is_printed_alone_and_works_until_it_is_revoked(run: Run, running: Json, folder: Path) -> None:
    made = run("keys", "create", "--comment", "shop", "--scope", "tasks:write", "--scope", "tasks:read", "--queue", "default")
    assert made.returncode == 0
    key = parse(made.stdout.strip())
    assert key is not None
    assert made.stdout.strip() not in made.stderr
    with_key = {"WAGGLE_URL": running["api_url"], "WAGGLE_API_KEY": key.text}
    whoami = json.loads(run("keys", "whoami", "-o", "json", place=folder, **with_key).stdout)
    assert whoami == {"name": f"key:{key.id}", "scopes": ["tasks:read", "tasks:write"], "queues": ["default"]}
    assert run("tasks", "submit", "demo.echo", place=folder, **with_key).returncode == 0
    (folder / "key").write_text(f"{key.text}\n")
    by_file = {"WAGGLE_URL": running["api_url"], "WAGGLE_API_KEY_FILE": str(folder / "key")}
    assert run("tasks", "list", place=folder, **by_file).returncode == 0
    refused = run("dlq", "list", place=folder, **with_key)
    assert (refused.returncode, "this needs the scope dlq:read" in refused.stderr) == (1, True)
    assert f"{key.id}  active" in run("keys").stdout
    replaced = run("keys", "replace", key.id, "--overlap", "1h")
    assert parse(replaced.stdout.strip()).id == key.id  # type: ignore[union-attr]
    assert "works until" in replaced.stderr
    assert run("keys", "revoke", key.id).stdout == f"revoked {key.id}\n"
    assert run("keys", "show", key.id, "-o", "json").stdout.count('"revoked"') == 1
    refused = run("tasks", "list", place=folder, **with_key)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("The API key or login that was sent is not, or no longer, valid at this API.\n")


def test_without_a_key_it_says_how_to_give_one(run: Run, running: Json, folder: Path) -> None:
    refused = run("tasks", "list", place=folder, WAGGLE_URL=running["api_url"])
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "No API key was sent: set WAGGLE_API_KEY" in refused.stderr
    nonsense = run("tasks", "list", place=folder, WAGGLE_URL=running["api_url"], WAGGLE_API_KEY="no key")
    assert (nonsense.returncode, nonsense.stderr) == (2, "waggle tasks list: WAGGLE_API_KEY is not an API key: those have the form wgl_…\n")


def test_mistakes_about_keys_are_told(run: Run) -> None:
    assert run("keys", "create", "--comment", "x").returncode == 2
    wrong = run("keys", "create", "--comment", "x", "--scope", "tasks:raed")
    assert (wrong.returncode, "tasks:read" in wrong.stderr) == (2, True)
    limited = run("keys", "create", "--comment", "x", "--scope", "admin", "--queue", "a")
    assert (limited.returncode, "queues: cannot limit a key with the scope admin" in limited.stderr) == (1, True)
    assert run("keys", "show", "nope").returncode == 3
    assert run("keys", "revoke", "nope", "NoSuchKey000").returncode == 3


def test_the_admin_of_the_first_start_signs_in_and_makes_users(run: Run, running: Json, home: dict[str, str]) -> None:
    password = running["said"].partition("admin  password ")[2].split()[0]
    assert run("login", "admin", "--password-stdin", stdin=password).stdout == "signed in as admin\n"
    kept = Path(home["XDG_CONFIG_HOME"]) / "waggle" / "logins.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(run("keys", "whoami", "-o", "json").stdout)["name"] == "user:admin"
    made = run("users", "create", "anna", "--role", "viewer")
    assert "anna  active" in made.stdout
    password = made.stdout.splitlines()[-1]
    assert run("login", "anna", "--password-stdin", stdin=password).returncode == 0
    assert run("tasks", "list").returncode == 0
    refused = run("users", "list")
    assert (refused.returncode, "this needs the scope admin" in refused.stderr) == (1, True)
    by_key = {"WAGGLE_API_KEY": running["api_key"]}
    assert "operator" in run("users", "change", "anna", "--role", "operator", **by_key).stdout
    assert run("tasks", "submit", "demo.echo").returncode == 0
    assert run("users", "password", stdin=f"{password}\nanother password!\n").stdout == "changed; sign in again\n"
    assert run("tasks", "list").returncode == 1
    assert run("login", "anna", "--password-stdin", stdin="another password!").returncode == 0
    assert run("logout", "--everywhere").stdout == "signed out everywhere\n"
    assert json.loads(run("keys", "whoami", "-o", "json").stdout)["name"].startswith("key:")
    nobody = run("logout")
    assert (nobody.returncode, "nobody has signed in at" in nobody.stderr) == (1, True)
    assert run("users", "delete", "anna", **by_key).returncode == 2  # it asks, and there is no terminal
    assert run("users", "delete", "anna", "--yes", **by_key).stdout == "deleted anna\n"
    wrong = run("login", "anna", "--password-stdin", stdin="another password!")
    assert (wrong.returncode, wrong.stdout) == (1, "")


def test_a_login_is_renewed_before_it_expires(run: Run, running: Json, home: dict[str, str]) -> None:
    password = run("users", "create", "renewed", "--role", "viewer").stdout.splitlines()[-1]
    assert run("login", "renewed", "--password-stdin", stdin=password).returncode == 0
    kept = Path(home["XDG_CONFIG_HOME"]) / "waggle" / "logins.json"
    before = json.loads(kept.read_text())
    (url,) = before
    kept.write_text(json.dumps({url: {**before[url], "expires_at": 0}}))
    assert json.loads(run("keys", "whoami", "-o", "json").stdout)["name"] == "user:renewed"
    after = json.loads(kept.read_text())
    assert after[url]["refresh_token"] != before[url]["refresh_token"]
    kept.write_text("{broken")
    assert json.loads(run("keys", "whoami", "-o", "json").stdout)["name"].startswith("key:")


def test_the_trail_and_blocks_are_read_and_changed(run: Run, running: Json) -> None:
    listed = run("audit-log", "list", "--action", "user.create", "--all")
    assert " waggle up " in listed.stdout.splitlines()[-1]
    assert run("audit-log", "list", "--actor", "nobody").stdout == "No matching entries.\n"
    verified = run("audit-log", "verify")
    assert (verified.returncode, "none changed, none missing" in verified.stdout) == (0, True)
    last_hash = verified.stdout.split()[-1]
    assert run("audit-log", "verify", "--last-hash", last_hash).returncode == 0
    cut_off = run("audit-log", "verify", "--last-hash", "0" * 64)
    assert (cut_off.returncode, "the newest entries were cut off" in cut_off.stderr) == (1, True)
    assert run("blocks").stdout == "No address is blocked.\n"
    assert "203.0.113.7" in run("blocks", "add", "203.0.113.7", "--for", "1h", "--reason", "a test").stdout
    assert run("blocks", "add", "example.com").returncode == 1
    assert "a test" in run("blocks").stdout
    assert run("blocks", "lift", "203.0.113.7").stdout == "lifted 203.0.113.7\n"
    assert run("blocks", "lift", "203.0.113.7").returncode == 3
    assert run("blocks", "add", "2001:db8::7").returncode == 0
    assert run("blocks", "lift", "2001:db8::/64").returncode == 0


def test_a_secret_from_a_file_is_used_and_not_written(folder: Path) -> None:
    place = folder / "own-secret"
    place.mkdir(mode=0o711)
    (folder / "secret").write_text("s" * 40 + "\n")
    with up("--ephemeral", place=place, output=folder / "up.txt", WAGGLE_API_SECRET_FILE=str(folder / "secret")) as facts:
        assert waggle("tasks", "list", place=folder, **access(facts)).returncode == 0


def test_the_second_start_keeps_the_key_and_no_auth_wants_none(folder: Path) -> None:
    place = folder / "twice"
    place.mkdir(mode=0o711)
    with up(place=place, output=folder / "first.txt") as first:
        assert stat.S_IMODE((place / ".waggle" / "api_key").stat().st_mode) == 0o600
        assert (place / ".waggle" / "api_key").read_text().strip() == first["api_key"]
    with up("--no-auth", place=place, output=folder / "second.txt") as second:
        assert "api_key" not in second
        assert waggle("tasks", "list", place=place).returncode == 0
        assert waggle("keys", "create", "--comment", "x", "--scope", "admin", place=place).returncode == 1
    assert "ANYBODY on this machine may do everything (--no-auth)" in (folder / "second.txt").read_text()
    with up(place=place, output=folder / "third.txt") as third:
        assert third["api_key"] == first["api_key"]
        assert waggle("tasks", "list", place=folder, **access(third)).returncode == 0
    assert "admin  password" in (folder / "first.txt").read_text()
    assert "admin  password" not in (folder / "third.txt").read_text()


def test_nobody_listens_to_other_machines_without_authentication(folder: Path) -> None:
    refused = waggle("up", "--no-auth", "--ephemeral", place=folder, WAGGLE_API_HOST="0.0.0.0")  # noqa: S104  # it is refused
    assert refused.returncode == 2
    assert "WAGGLE_API_HOST=0.0.0.0 can be reached from other machines" in refused.stderr + refused.stdout


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"WAGGLE_API_AUTH": "none", "WAGGLE_API_HOST": "0.0.0.0"}, "can be reached from other machines"),  # noqa: S104  # it is refused
        ({"WAGGLE_API_AUTH": "none", "WAGGLE_API_HOST": "::"}, "can be reached from other machines"),
        ({"WAGGLE_API_SECRET": ""}, "WAGGLE_API_SECRET"),
        ({"WAGGLE_API_SECRET": "too short"}, "WAGGLE_API_SECRET"),
        ({"WAGGLE_API_AUTH": "off"}, "WAGGLE_API_AUTH"),
    ],
)
async def test_an_api_that_would_let_everybody_in_does_not_start(start: Services, folder: Path, environ: dict[str, str], said: str) -> None:
    process = launch("api", start.settings, folder, environ=environ)
    assert await process.ended() == 2
    assert said in process.tail()


async def test_the_first_key_of_an_installation_is_made_in_the_database(start: Services, folder: Path, nats: NatsServer) -> None:
    system = await System.start(start)
    there = {"WAGGLE_POSTGRES_URL": start.settings.postgres_url, "WAGGLE_API_SECRET": API_SECRET}
    made = waggle("keys", "create", "--comment", "first", "--scope", "admin", "--direct", place=folder, **there)
    assert (made.returncode, made.stdout.startswith("wgl_")) == (0, True), made.stderr
    async with client_of(system.api, made.stdout.strip()) as client:
        assert (await client.get("/api/auth/keys")).status_code == 200
        (entry,) = (await client.get("/api/audit")).json()["items"]
        assert (entry["actor"], entry["action"]) == ("waggle keys create --direct", "key.create")
        assert (await client.get("/api/audit/verify")).json()["fits"]
    wrong = waggle("keys", "create", "--comment", " ", "--scope", "tasks:read", "--queue", "No", "--direct", place=folder, **there)
    assert (wrong.returncode, "comment: is missing" in wrong.stderr, "queues[0]" in wrong.stderr) == (2, True, True)
    without = waggle("keys", "create", "--comment", "x", "--scope", "admin", "--direct", place=folder, WAGGLE_POSTGRES_URL=start.settings.postgres_url)
    assert (without.returncode, "WAGGLE_API_SECRET is missing" in without.stderr) == (2, True)
