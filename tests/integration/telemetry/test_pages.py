"""What each service's /metrics has is what the catalogue says."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from support.system import Client, System, ok
from waggle.telemetry.catalogue import declared

LIBRARY = ("process_", "python_")  # prometheus_client's own


async def test_each_service_has_the_metrics_of_the_catalogue_and_no_others(system: System, client: Client) -> None:
    """With a task done, so that labels have values."""
    task = ok(await client.post("/api/tasks", json={"type": "demo.echo"}), 201)
    ok(await client.get(f"/api/tasks/{task['id']}", params={"wait": 10}))
    for service in ("api", "worker", "dlq", "scheduler"):
        async with httpx2.AsyncClient(trust_env=False) as http:
            text = (await http.get(getattr(system, service).metrics_url)).text
        found = {family.name: family for family in text_string_to_metric_families(text) if not family.name.startswith(LIBRARY)}
        wanted = {spec.name.removesuffix("_total"): spec for spec in declared() if service in spec.where}
        assert found.keys() == wanted.keys(), service
        for name, spec in wanted.items():
            assert (found[name].type, found[name].documentation) == (spec.type, spec.meaning), name
            for sample in found[name].samples:
                assert set(sample.labels) - {"le"} == set(spec.labels), name
