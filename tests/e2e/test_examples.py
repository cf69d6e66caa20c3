"""The example application does what its README says."""

import re
import shlex
from pathlib import Path
from typing import Any

from support.command_line import access, waggle
from support.system import client_for, ok

EXAMPLES = Path(__file__).parents[2] / "examples"


def commands(heading: str = "## A shop") -> list[list[str]]:
    """The `waggle tasks` commands below a heading of the README, in its order."""
    readme = (EXAMPLES / "README.md").read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    return [shlex.split(line)[3:] for line in re.findall(r"^ {4}(uv run waggle tasks .*)$", readme, re.MULTILINE)]


def test_the_readme_starts_it_as_the_tests_do() -> None:
    assert "    uv run waggle up --app shop.tasks:app\n" in (EXAMPLES / "README.md").read_text()


def test_every_command_of_the_readme_does_what_it_says(shop: dict[str, Any]) -> None:
    runs = [waggle(*command, place=EXAMPLES, **access(shop)) for command in commands()]
    mail, report, payment, worthless, listing, misfit = runs
    assert [run.returncode for run in runs] == [0, 0, 0, 1, 0, 1]

    assert "@shop.example>" in mail.stdout
    assert '"total": 11.0' in report.stdout
    timeline = payment.stdout.partition("timeline")[2]
    assert re.findall(r"(\w+) +attempt \d +took", timeline) == ["snoozed", "failed", "completed"]
    assert "an order of 0.0 cannot be paid" in worthless.stdout
    assert re.findall(r"(\w+) +attempt \d +took", worthless.stdout) == ["failed"]
    assert listing.stdout.count("payment.collect") == 2
    assert "payload.subject: is required" in misfit.stderr


async def test_the_types_are_announced_with_their_queues_and_schemas(shop: dict[str, Any]) -> None:
    async with client_for(shop) as client:
        types = {found["name"]: found for found in ok(await client.get("/api/types"))["items"]}
    assert {name: types[name]["queue"] for name in ("email.send", "report.build", "payment.collect")} == {
        "email.send": "mail",
        "report.build": "reports",
        "payment.collect": "payments",
    }
    assert set(types["email.send"]["schema"]["required"]) == {"to", "subject"}


async def test_payments_and_reports_that_wait_are_started_by_their_priority(shop: dict[str, Any]) -> None:
    async with client_for(shop) as client:
        report = {"type": "report.build", "payload": {"lines": []}, "priority": "low", "queue": "payments"}
        mail = {"type": "email.send", "payload": {"to": "bee@hive.example", "subject": "Nectar"}, "priority": "critical", "queue": "payments"}
        ok(await client.post("/api/queues/payments/pause"))
        reports = ok(await client.post("/api/tasks/batch", json=[report] * 400), 201)["items"]
        mails = ok(await client.post("/api/tasks/batch", json=[mail] * 400), 201)["items"]
        ok(await client.post("/api/queues/payments/resume"))
        started = {}
        for task in [*reports, *mails]:
            ended = ok(await client.get(f"/api/tasks/{task['id']}", params={"wait": 30}))
            assert ended["status"] == "completed"
            started[task["id"]] = ended["started_at"]
    places = {task_id: place for place, task_id in enumerate(sorted(started, key=lambda task_id: started[task_id]))}
    assert sum(places[task["id"]] for task in mails) < sum(places[task["id"]] for task in reports), "critical tasks overtake those that came before them"
