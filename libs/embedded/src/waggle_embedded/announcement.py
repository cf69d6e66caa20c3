"""Where everything is: the ready file for programs, the banner for people."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from waggle_embedded.child import ServerProcess
from waggle_embedded.first_key import ADMIN, KEY_FILE, Access
from waggle_embedded.services import ServiceProcess

T = TypeVar("T")

SCRAPED: Final = {
    "http": ["  - job_name: waggle"],
    "https": ["  - job_name: waggle-tls", "    scheme: https", "    tls_config: {insecure_skip_verify: true}"],
}


def facts(postgres_url: str, nats_url: str, running: Iterable[tuple[str, ServerProcess]], *, api_key: str, publisher_url: str) -> dict[str, Any]:
    """The content of the ready file. `running` has a pair (service, process) for each process; a service with several processes gets lists.

    Without an API key, there is none in it: nobody is asked for one.
    """
    pids: dict[str, list[int]] = {}
    metrics: dict[str, list[str]] = {}
    api_url = ""
    for service, child in running:
        pids.setdefault(service, []).append(child.pid)
        if isinstance(child, ServiceProcess):
            written = child.facts()
            metrics.setdefault(service, []).append(written.get("metrics_url", ""))
            api_url = written.get("api_url", api_url)
    return {
        "api_url": api_url,
        **({"api_key": api_key} if api_key else {}),
        "nats_url": nats_url,
        "nats_publisher_url": publisher_url,
        "postgres_url": postgres_url,
        "metrics_urls": {service: _one_or_all(urls) for service, urls in metrics.items()},
        "pids": {**{service: _one_or_all(numbers) for service, numbers in pids.items()}, "up": os.getpid()},
    }


def _one_or_all(values: list[T]) -> T | list[T]:
    return values[0] if len(values) == 1 else values


def prometheus(metrics: Mapping[str, Any]) -> str:
    """A configuration of Prometheus that scrapes these addresses; `metrics` is `metrics_urls` of the ready file."""
    lines = [
        "# Made by `waggle up`, which keeps it true. Try it: prometheus --config.file=prometheus.yml --enable-feature=exemplar-storage",
        "global:",
        "  scrape_interval: 5s",
        "  evaluation_interval: 5s",
        "scrape_configs:",
    ]
    for scheme, job in SCRAPED.items():
        targets = [line for service, urls in metrics.items() for line in _targets(service, urls, scheme)]
        if targets:
            lines += [*job, "    static_configs:", *targets]
    return "\n".join(lines) + "\n"


def _targets(service: str, urls: Any, scheme: str) -> list[str]:
    several = [urlsplit(url) for url in (urls if isinstance(urls, list) else [urls])]
    hosts = [url.netloc for url in several if url.scheme == scheme]
    return [f"      - targets: {json.dumps(hosts)}", f"        labels: {{service: {service}}}"] if hosts else []


def banner(api_url: str, data: Path, servers: Path, *, kept: bool, embedded: tuple[bool, bool], access: Access) -> str:
    """What people want to know once everything runs. `embedded` says whether Postgres and NATS are the embedded ones, `access` what opens the API."""
    tasks = f"{api_url}/api/tasks"
    header = f"""-H "x-api-key: $(cat {data / KEY_FILE})" """ if access.key else ""
    data_line = f"{data} (kept for the next start)" if kept else f"{data} (deleted at the end)"
    lines = ["", "Waggle is running.", "", f"  API    {api_url}", f"  data   {data_line}"]
    if servers != data and any(embedded):
        lines.append(f"         Postgres and NATS keep theirs in {servers}: for root, Postgres runs as the user nobody, which cannot reach {data}")
    for own, name, variable in zip(embedded, ("Postgres", "NATS"), ("WAGGLE_POSTGRES_URL", "WAGGLE_NATS_URL"), strict=True):
        if not own:
            lines.append(f"         {name} is your own ({variable})")
    lines += [
        f"  key    {data / KEY_FILE} (the command line finds it)" if access.key else "  key    none: ANYBODY on this machine may do everything (--no-auth)",
        *([f"  admin  password {access.password}  (shown this once; the name is {ADMIN})"] if access.password else []),
        f"  logs   {data / 'logs'}",
        "",
        "  Submit a task, then wait for its result:",
        "",
        f"""    curl -s {tasks} {header}-H 'content-type: application/json' -d '{{"type": "demo.echo", "payload": {{"hello": "bees"}}}}'""",
        f"    curl -s {header}'{tasks}/ID?wait=10'        # ID: the id in the first answer",
        "",
        "  Ctrl-C stops everything.",
        "",
    ]
    return "\n".join(lines)
