"""Checks of what watches Waggle: the scrape addresses of its processes, loops that fail, alerts that fire, and rows that nobody removes."""

import asyncio
import re
from typing import Final

import httpx2

from waggle.store import alerts, figures
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, count, listed, ok, reason, warning

SCRAPE_SECONDS: Final = 2.0
BETWEEN_SECONDS: Final = 1.5  # two scrapes: a loop that fails now fails again
FAILURES: Final = re.compile(r'^waggle_loop_failures_total\{loop="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)

Pages = dict[str, str]  # by service and address


async def scraped(deployment: Deployment) -> list[Finding]:
    """Each address is asked twice; a loop whose failures rise in between is failing."""
    first, problems = await _pages(deployment.metrics_urls)
    await asyncio.sleep(BETWEEN_SECONDS)
    second, _ = await _pages(deployment.metrics_urls)
    found = [warning(f"{name} does not answer: {problem}", "read the log of this service; Prometheus sees nothing of it") for name, problem in problems.items()]
    failing = [f"{name.partition(' ')[0]}: {loop}" for name in first.keys() & second.keys() for loop in _rising(first[name], second[name])]
    if failing:
        found.append(warning(f"{count(len(failing), 'loop')} failing: {listed(sorted(failing))}", "the log line `outage, waiting` of the service says why"))
    return found or [ok(f"{count(len(first), 'metrics page')} answering, no loop fails")]


async def _pages(urls: dict[str, list[str]]) -> tuple[Pages, dict[str, str]]:
    pages, problems = Pages(), dict[str, str]()
    async with httpx2.AsyncClient(timeout=SCRAPE_SECONDS, trust_env=False, verify=False) as client:  # only figures are read
        for name, url in [(f"{service} {url}", url) for service, several in urls.items() for url in several]:
            try:
                pages[name] = (await client.get(url)).raise_for_status().text
            except httpx2.HTTPError as error:
                problems[name] = reason(error)
    return pages, problems


def _rising(before: str, now: str) -> list[str]:
    counts = {loop: float(value) for loop, value in FAILURES.findall(before)}
    return [loop for loop, value in FAILURES.findall(now) if float(value) > counts.get(loop, 0.0)]


async def bloat(deployment: Deployment) -> list[Finding]:
    """Dead rows of the hot tables, as Postgres estimates them."""
    assert deployment.database
    found = []
    for row in await figures.bloated(deployment.database):
        what = f"the table {row['table']} has {row['dead']:,} dead rows beside {row['live']:,} live ones: statements pass over them"
        found.append(warning(what, f"see old snapshots above; else autovacuum is off or too slow: VACUUM {row['table']} helps once"))
    return found or [ok("few dead rows in the hot tables")]


async def firing(deployment: Deployment) -> list[Finding]:
    """Alerts that schedulers with a webhook have raised."""
    assert deployment.database
    rows = await alerts.listing(deployment.database, True, 100)
    found = [warning(f"{row['name']} fires: {row['summary']}", "docs/alerts.md says what to do") for row in rows if row["name"] != "test"]
    return found or [ok("no alert fires")]
