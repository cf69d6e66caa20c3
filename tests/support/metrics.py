"""A service's metrics, read from its /metrics page."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from support.processes import Process


async def counted(process: Process, name: str) -> dict[str, float]:
    """The values of one metric by its label values (joined by commas); empty when it was never used."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        page = (await client.get(process.metrics_url)).text
    return {
        ",".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and sample.value
    }
