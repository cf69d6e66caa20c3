"""The whole system on the servers of a test, and the HTTP client for it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from support.facts import until
from support.fleet import FleetSettings
from support.keys import ADMIN_KEY
from support.processes import Process, launch, ready

Json = dict[str, Any]

AT_REST = ("completed", "failed", "cancelled", "dead_letter")


@dataclass
class Services:
    """The services that a test started, with the settings of the test unless changed."""

    settings: FleetSettings
    folder: Path
    logs: dict[str, Path] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    def launch(self, name: str, *, environ: Mapping[str, str] | None = None, output: int | None = None, **changes: object) -> Process:
        """Start a service with these settings changed (`lease=2.0`), without waiting. With `output` it writes there, and not to a log."""
        process = launch(name, msgspec.structs.replace(self.settings, **changes), self.folder, environ=environ, output=output)
        self.processes.append(process)
        if output is None:
            self.logs[process.log.stem] = process.log
        return process

    async def __call__(self, name: str, *, environ: Mapping[str, str] | None = None, **changes: object) -> Process:
        """Start a service with these settings changed (`lease=2.0`) and wait until it is ready."""
        process = self.launch(name, environ=environ, **changes)
        await ready(process)
        return process


@dataclass
class System:
    """One process of each service."""

    api: Process
    worker: Process
    dlq: Process
    scheduler: Process

    @classmethod
    async def start(cls, services: Services) -> "System":
        system = cls(*(services.launch(name) for name in ("api", "worker", "dlq", "scheduler")))
        await ready(system.api, system.worker, system.dlq, system.scheduler)
        return system


class Client(httpx2.AsyncClient):
    """An HTTP client for the API (`client.get("/api/tasks")`) with methods for what most tests need, and the key of the tests' admin."""

    async def submit(self, type: str, payload: object = None, **fields: object) -> Json:  # noqa: A002  # the field's name
        """Create a task; returns the answer of the API."""
        body = {"type": type, **({} if payload is None else {"payload": payload}), **fields}
        return ok(await self.post("/api/tasks", json=body), 201)

    async def submit_many(self, tasks: list[Json]) -> list[Json]:
        """Create tasks in one batch."""
        items: list[Json] = ok(await self.post("/api/tasks/batch", json={"tasks": tasks}), 201)["items"]
        return items

    async def task(self, task: Json | str) -> Json:
        """A task as it is now."""
        return ok(await self.get(f"/api/tasks/{_id(task)}"))

    async def wait(self, task: Json | str, seconds: float = 15.0) -> Json:
        """A task once it is at rest; fails after `seconds`. Tolerates an API that is away."""

        async def at_rest() -> Json | None:
            try:
                answer = await self.get(f"/api/tasks/{_id(task)}", params={"wait": min(seconds, 5.0)})
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
                return None
            if answer.status_code == 503:
                await asyncio.sleep(0.1)
                return None
            found = ok(answer)
            return found if found["status"] in AT_REST else None

        return await until(at_rest, seconds, f"task {_id(task)} comes to rest")

    async def becomes(self, task: Json | str, status: str, seconds: float = 10.0) -> Json:
        """A task once it has this status."""

        async def there() -> Json | None:
            found = await self.task(task)
            return found if found["status"] == status else None

        return await until(there, seconds, f"task {_id(task)} becomes {status}")

    async def cancel(self, task: Json | str) -> Json:
        """Cancel a task; returns the task as answered by the API."""
        return ok(await self.delete(f"/api/tasks/{_id(task)}"))

    async def tasks(self, **filters: object) -> list[Json]:
        """One page of a listing."""
        items: list[Json] = ok(await self.get("/api/tasks", params=filters))["items"]  # type: ignore[arg-type]
        return items

    async def attempts(self, task: Json | str) -> list[Json]:
        """A task's ended attempts."""
        items: list[Json] = ok(await self.get(f"/api/tasks/{_id(task)}/attempts"))["items"]
        return items


def client_of(api: Process, key: str | None = ADMIN_KEY) -> Client:
    """A client of one API process, with a key or without one; close it (`async with`)."""
    return Client(base_url=api.api_url, headers=None if key is None else bearer(key), timeout=30.0, trust_env=False)


def client_for(facts: Json) -> Client:
    """A client of the API of a `waggle up`, by its ready file."""
    return Client(base_url=facts["api_url"], headers=bearer(facts["api_key"]), timeout=30.0, trust_env=False)


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"authorization": f"Bearer {key}"}


def ok(answer: httpx2.Response, status: int = 200) -> Json:
    """The body of an answer; fails with the whole answer when the status is another one."""
    assert answer.status_code == status, f"{answer.request.method} {answer.request.url}: {answer.status_code}, not {status}: {answer.text}"
    found: Json = answer.json()
    return found


def told(answer: httpx2.Response, status: int = 422) -> dict[str, str]:
    """The field errors of a refused request: messages by field."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


def _id(task: Json | str) -> str:
    return task if isinstance(task, str) else str(task["id"])
