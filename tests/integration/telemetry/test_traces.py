"""Traces from the request to what the handler calls, and metrics by OTLP, as a collector gets them."""

import re
from typing import Any

import pytest

from support.called import called
from support.facts import until
from support.otlp import Received, attributes, collector
from support.system import Client, Json, Services, client_of, ok

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1,other=t61rcWkgMzE"}
UNSAMPLED = {"traceparent": f"00-{TRACE[::-1]}-{PARENT}-00"}
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
METRICS = {"messaging.client.sent.messages", "messaging.client.consumed.messages", "messaging.client.operation.duration", "messaging.process.duration"}


async def submitted(client: Client, kind: str, payload: Json, **headers: str) -> Json:
    task = ok(await client.post("/api/tasks", json={"type": kind, "payload": payload, "max_retries": 0}, headers=headers), 201)
    found: Json = ok(await client.get(f"/api/tasks/{task['id']}", params={"wait": 20}))
    return found


def of_trace(received: Received, trace: str) -> dict[str, Any]:
    return {span.name: span for span in received.spans if span.trace_id.hex() == trace}


async def test_a_trace_leads_from_the_request_to_the_handlers_call(start: Services, lanes: None) -> None:
    with collector() as received:
        settings = {"otlp_endpoint": received.url, "otlp_headers": ("x-key=k1",), "trace_ratio": 0.0}
        api = await start("api", trace_url="https://traces.example/{trace_id}", **settings)
        worker = await start("worker", app="support.handlers:app", http_allow=("127.0.0.1",), **settings)
        async with client_of(api) as client, called() as target:
            task = await submitted(client, "http.request", {"url": f"{target.url}/headers"}, **SAMPLED)
            assert (task["trace_id"], task["trace_url"]) == (TRACE, f"https://traces.example/{TRACE}")
            answer = await client.get(f"/api/tasks/{task['id']}", headers=SAMPLED)
            assert re.fullmatch(rf'trace;desc="00-{TRACE}-[0-9a-f]{{16}}-01"', answer.headers["server-timing"])
            failed = await submitted(client, "demo.fail", {"message": "no account", "retryable": False}, **UNSAMPLED)
            assert failed["status"] == "dead_letter"
            assert "trace_id" in await submitted(client, "demo.echo", {}), "a trace begins where none came"

            async def exemplars() -> bool:
                pages = [(await client.get(url, headers={"accept": OPEN_METRICS})).text for url in (api.metrics_url, worker.metrics_url)]
                return all(f'trace_id="{TRACE}"' in page for page in pages)

            await until(exemplars)
        assert [await api.stop(), await worker.stop()] == [0, 0], "what they still hold is sent"

    [line] = [line for line in worker.lines() if line["event"] == "task failed"]
    assert line["trace_id"] == UNSAMPLED["traceparent"][3:35]
    spans = of_trace(received, TRACE)
    assert spans.keys() >= {
        "POST /api/tasks",
        "send default",
        "commit",
        "receive default",
        "process default",
        "settle default",
        "GET",
        "GET /api/tasks/{task_id}",
    }
    request, send, process, call = (spans[name] for name in ("POST /api/tasks", "send default", "process default", "GET"))
    assert (request.parent_span_id.hex(), request.kind) == (PARENT, SERVER)
    assert (send.parent_span_id, send.kind) == (request.span_id, PRODUCER)
    assert (process.parent_span_id, process.kind) == (send.span_id, CONSUMER)
    assert [(link.trace_id.hex(), link.span_id) for link in process.links] == [(TRACE, send.span_id)]
    assert (call.parent_span_id, call.kind) == (process.span_id, CLIENT)
    assert (spans["receive default"].parent_span_id, spans["settle default"].parent_span_id) == (send.span_id, process.span_id)
    said = attributes(process)
    assert (said["messaging.system"], said["messaging.operation.name"], said["messaging.destination.name"]) == ("waggle", "process", "default")
    assert (said["messaging.message.id"], said["waggle.task.attempt"], said["waggle.task.outcome"]) == (task["id"], 1, "completed")
    assert not any(task["id"] in span.name for span in received.spans)
    assert any(span.name != "commit" and attributes(span).get("db.system.name") == "postgresql" for span in received.spans), "the statements of a request"

    kept = of_trace(received, UNSAMPLED["traceparent"][3:35])
    assert kept.keys() == {"process default"}, "a failed attempt is recorded though its trace is not"
    assert attributes(kept["process default"])["error.type"] == "task_execution_failed"
    [record] = received.logs
    assert (record.trace_id, record.body.string_value) == (kept["process default"].trace_id, "no account")
    assert attributes(record)["exception.type"] == "task_execution_failed"

    assert received.services == {"waggle-api", "waggle-worker"}
    assert received.headers["x-key"] == "k1"
    assert received.metrics.keys() >= {*METRICS, "waggle_tasks_submitted", "task_processing_duration", "system_cpu_usage"}
    sent = {attributes(point)["waggle.task.type"]: point.as_double for point in received.metrics["messaging.client.sent.messages"].sum.data_points}
    assert sent["demo.echo"] == 1.0
    durations = received.metrics["messaging.process.duration"].histogram.data_points
    assert sum(point.count for point in durations if attributes(point)["waggle.task.type"] == "demo.echo") == 1


async def test_the_context_goes_to_what_the_handler_calls_unless_the_task_has_one_of_its_own(start: Services, lanes: None) -> None:
    """Without a collector, too."""
    api, _ = await start("api"), await start("worker", http_allow=("127.0.0.1",))
    async with client_of(api) as client, called() as target:
        url = f"{target.url}/headers"
        await submitted(client, "http.request", {"url": url}, **SAMPLED)
        await submitted(client, "http.request", {"url": url, "headers": {"TraceParent": "mine"}}, **SAMPLED)
        await submitted(client, "http.request", {"url": url})
        heads = [{name.lower(): value for name, value in one.headers.items()} for one in target.calls]
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", heads[0]["traceparent"])
    assert PARENT not in heads[0]["traceparent"]
    assert heads[0]["tracestate"] == SAMPLED["tracestate"]
    assert heads[1]["traceparent"] == "mine"
    assert "traceparent" not in heads[2]


async def test_a_collector_that_does_not_answer_holds_up_neither_work_nor_the_stop(start: Services, lanes: None) -> None:
    api = await start("api", otlp_endpoint="http://127.0.0.1:1", trace_ratio=1.0)
    worker = await start("worker", otlp_endpoint="http://127.0.0.1:1", trace_ratio=1.0)
    async with client_of(api) as client:
        for _ in range(20):
            assert (await submitted(client, "demo.echo", {}))["status"] == "completed"
    assert [await api.stop(8.0), await worker.stop(8.0)] == [0, 0]


@pytest.mark.parametrize(
    "text", ["", "00-" + "0" * 32 + f"-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01-more", "x" * 100_000]
)
async def test_an_invalid_context_begins_no_trace_and_fails_nothing(api: Client, text: str) -> None:
    task = ok(await api.post("/api/tasks", json={"type": "test.work", "delay": 600}, headers={"traceparent": text[:2000]}), 201)
    assert task.get("trace_id") != TRACE


async def test_a_context_that_comes_twice_is_invalid_and_an_odd_method_is_counted_as_other(api: Client) -> None:
    twice = [("traceparent", SAMPLED["traceparent"]), ("traceparent", SAMPLED["traceparent"])]
    answer = await api.post("/api/tasks", json={"type": "test.work", "delay": 600}, headers=twice)
    assert ok(answer, 201).get("trace_id") != TRACE
    await api.request("PROPFIND", "/api/tasks", headers=SAMPLED)
    assert 'method="other"' in (await api.get("/metrics")).text
