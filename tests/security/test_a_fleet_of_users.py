"""The services, each with a NATS user of its own, do everything that they do: none is refused anything."""

import asyncio
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from support.command_line import waggle
from support.facts import until
from support.servers import NatsServer
from support.system import Client, Services, client_of, ok
from waggle.bus import users
from waggle.bus.users import NatsPublisher
from waggle_embedded import services
from waggle_embedded.binaries import find_nats


async def work(client: Client, nats: NatsServer) -> None:
    """What makes the services talk to each other."""
    done = await client.wait(await client.submit("demo.echo", {"a": 1}))
    assert done["status"] == "completed"
    dead = await client.wait(await client.submit("demo.fail", {"message": "no", "retryable": False}))
    assert dead["status"] == "dead_letter"
    ok(await client.post(f"/api/dlq/{dead['id']}/retry"))
    ok(await client.post("/api/queues/default/pause"))
    waiting = await client.submit("demo.echo")
    ok(await client.post("/api/queues/default/resume"))
    await client.wait(waiting)
    long = await client.submit("demo.sleep", {"seconds": 60})
    await until(lambda: _runs(client, long["id"]))
    await client.cancel(long)
    for _ in range(5):  # that open its breaker
        await client.wait(await client.submit("http.request", {"url": "https://none.invalid/"}, max_retries=0))
    [breaker] = await until(lambda: _breakers(client))
    ok(await client.post(f"/api/breakers/{breaker}/reset"))
    nats.wipe()
    await client.wait(await client.submit("demo.echo"), 30.0)


async def _runs(client: Client, task_id: str) -> bool:
    return bool((await client.task(task_id))["status"] == "running")


async def _breakers(client: Client) -> list[str]:
    return [one["name"] for one in ok(await client.get("/api/breakers"))["items"]]


async def test_nothing_is_refused(start: Services, pool: "asyncpg.Pool[asyncpg.Record]", nats: NatsServer) -> None:
    started = [await start(service, nats_url=nats.url_of(service)) for service in ("scheduler", "dlq", "worker", "api")]
    async with client_of(started[-1]) as client:
        await work(client, nats)
    await until(lambda: pool.fetchval("SELECT count(*) = 0 FROM waggle.tasks WHERE status IN ('pending', 'running')"))
    for process in started:
        assert process.alive
        assert not process.logged("NATS refused")


def printed(folder: Path, *options: str) -> tuple[str, dict[str, str]]:
    """A configuration, and the addresses that it names."""
    run = waggle("nats", "config", *options, place=folder)
    assert (run.returncode, run.stderr) == (0, "")
    lines = [line.split() for line in run.stdout.splitlines() if "WAGGLE_NATS_URL=" in line]
    return run.stdout, {line[1]: line[2].removeprefix("WAGGLE_NATS_URL=") for line in lines}


def test_the_printed_configuration_is_one(folder: Path) -> None:
    text, addresses = printed(folder, "--host", "n1.example", "--port", "4333", "--store-dir", str(folder / "store"), "--max-file", "2G")
    assert addresses.keys() == {*services.SERVICES, users.OPERATOR}
    assert {(urlsplit(url).scheme, urlsplit(url).hostname, urlsplit(url).port) for url in addresses.values()} == {("nats", "n1.example", 4333)}
    file = folder / "nats.conf"
    file.write_text(text)
    (folder / users.PUBLISHERS_FILE).write_text(users.publishers([NatsPublisher("shop", "$2a$06$" + "x" * 53)]))
    subprocess.run([find_nats(), "-t", "-c", file], check=True, capture_output=True)
    assert printed(folder)[0] != printed(folder)[0], "passwords are made up each time"
    assert 'cert_file: "c.pem"' in printed(folder, "--tls-cert", "c.pem", "--tls-key", "k.pem")[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--tls-cert", "c.pem"), "--tls-cert and --tls-key belong together"), (("--max-file", "much"), "--max-file much is no number of bytes")],
)
async def test_what_cannot_be_is_refused(folder: Path, options: tuple[str, ...], said: str) -> None:
    run = await asyncio.to_thread(waggle, "nats", "config", *options, place=folder)
    assert (run.returncode, run.stdout) == (2, "")
    assert said in run.stderr
