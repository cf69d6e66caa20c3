"""What a service sends to a collector by OTLP over HTTP: spans, exceptions as log records, and the metrics of its page.

It is imported only where a collector is configured: the SDK takes some 15 MB. The metrics are read from the registry of prometheus_client, so they are
counted once; those that have a name in the semantic conventions are sent under that name, too.
"""

import asyncio
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import prometheus_client
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from waggle.pinned import WAGGLE_VERSION
from waggle.telemetry.catalogue import Convention, declared
from waggle.telemetry.span_sender import SCHEMA, SpanSender
from waggle.telemetry.traces import Span, TraceContext

SCOPE: Final = InstrumentationScope("waggle", WAGGLE_VERSION, SCHEMA)
STOP_SECONDS: Final = 2.0  # with a collector that does not answer, the SDK takes seven
UNITS: Final = {"seconds": "s", "bytes": "By", "milliseconds": "ms", "percent": "%", "per minute": "/min", "": "1"}


class Collector:
    """The exporters of one service. `endpoint` is the address of the collector, http://host:4318."""

    def __init__(self, service: str, endpoint: str, headers: Mapping[str, str]) -> None:
        self._resource = Resource.create({"service.name": f"waggle-{service}", "service.version": WAGGLE_VERSION, "host.name": socket.gethostname()})
        base = endpoint.rstrip("/")
        self._spans = SpanSender(f"{base}/v1/traces", headers, self._resource)
        self._of_handlers = BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", headers=dict(headers)))
        self._logs = LoggerProvider(self._resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{base}/v1/logs", headers=dict(headers))))
        self._logger = self._logs.get_logger("waggle", WAGGLE_VERSION, SCHEMA)
        self._metrics = OTLPMetricExporter(f"{base}/v1/metrics", headers=dict(headers))
        self._began = time.time_ns()
        provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)  # for what handlers trace themselves
        provider.add_span_processor(self._of_handlers)
        trace.set_tracer_provider(provider)

    def span(self, span: Span) -> None:
        self._spans.add(span)

    def failure(self, context: TraceContext, message: str, attributes: Mapping[str, Any]) -> None:
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=trace.set_span_in_context(NonRecordingSpan(_context(context))),
                severity_text="ERROR",
                severity_number=SeverityNumber.ERROR,
                body=message,
                attributes=dict(attributes),
            )
        )

    async def send_metrics(self, interval: float) -> None:
        """The loop that sends the metrics."""
        while True:
            await asyncio.sleep(interval)
            with suppress(RuntimeError):  # no further thread from the system: the next time, perhaps
                await asyncio.to_thread(self._metrics.export, self._collected())

    async def stop(self) -> None:
        """Send what waits, for STOP_SECONDS at most."""
        ending = threading.Thread(target=self._shut_down, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, STOP_SECONDS)

    def _shut_down(self) -> None:
        self._spans.stop()
        self._metrics.export(self._collected())
        self._of_handlers.shutdown()  # type: ignore[no-untyped-call]
        self._logs.shutdown()
        self._metrics.shutdown()

    def _collected(self) -> MetricsData:
        metrics = list(collected(prometheus_client.REGISTRY, self._began, time.time_ns()))
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(SCOPE, metrics, SCHEMA)], SCHEMA)])


def user_context(context: TraceContext) -> Any:
    """The context in which spans that a handler makes by OpenTelemetry's own API are children of this one."""
    return trace.set_span_in_context(NonRecordingSpan(_context(context)))


def collected(registry: prometheus_client.CollectorRegistry, began: int, now: int) -> Iterator[Metric]:
    """The metrics of a registry in OpenTelemetry's model, and again by the names of its conventions. Times are in nanoseconds since 1970."""
    specs = {spec.name.removesuffix("_total"): spec for spec in declared()}
    for family in registry.collect():
        spec = specs.get(family.name)
        unit = UNITS.get(spec.unit, "1") if spec else family.unit or "1"
        match family.type:
            case "counter":
                totals = [(sample.labels, sample.value) for sample in family.samples if sample.name.endswith("_total")]
                yield Metric(family.name, family.documentation, unit, _sum(totals, began, now))
                if spec and spec.convention:
                    yield _conventional(spec.convention, _sum(list(_renamed(totals, spec.convention)), began, now))
            case "histogram":
                points = list(_histograms(family.samples))
                yield Metric(family.name, family.documentation, unit, _histogram(points, began, now))
                if spec and spec.convention and spec.convention.count:
                    counts = [(labels, float(sum(counts))) for labels, counts, _, _ in points]
                    yield _conventional(spec.convention, _sum(list(_renamed(counts, spec.convention)), began, now))
                elif spec and spec.convention:
                    yield _conventional(spec.convention, _histogram(list(_same(points, spec.convention)), began, now))
            case "gauge":
                values = [NumberDataPoint(dict(sample.labels), began, now, sample.value) for sample in family.samples]
                yield Metric(family.name, family.documentation, unit, Gauge(values))


_Point = tuple[Mapping[str, str], list[int], tuple[float, ...], float]  # labels, counts of the buckets, their bounds, the sum


def _histograms(samples: Any) -> Iterator[_Point]:
    """Prometheus counts up to a bound, OpenTelemetry between bounds."""
    found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = defaultdict(lambda: {"buckets": [], "sum": 0.0})
    for sample in samples:
        labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            found[labels]["buckets"].append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            found[labels]["sum"] = sample.value
    for labels, one in found.items():
        ordered = sorted(one["buckets"])
        counts = [count - before for (_, count), before in zip(ordered, [0, *[count for _, count in ordered]], strict=False)]
        yield dict(labels), counts, tuple(bound for bound, _ in ordered[:-1]), one["sum"]


def _histogram(points: list[_Point], began: int, now: int) -> Histogram:
    made = [
        HistogramDataPoint(dict(labels), began, now, sum(counts), total, counts, bounds, float("nan"), float("nan")) for labels, counts, bounds, total in points
    ]
    return Histogram(made, AggregationTemporality.CUMULATIVE)


def _sum(values: Sequence[tuple[Mapping[str, str], float]], began: int, now: int) -> Sum:
    return Sum([NumberDataPoint(dict(labels), began, now, value) for labels, value in values], AggregationTemporality.CUMULATIVE, is_monotonic=True)


def _conventional(convention: Convention, data: Any) -> Metric:
    return Metric(convention.name, "As the semantic conventions have it", convention.unit, data)


def _attributes(labels: Mapping[str, str], convention: Convention) -> dict[str, str]:
    return {**convention.attributes, **{attribute: labels[label] for label, attribute in convention.labels.items()}}


def _renamed(values: Sequence[tuple[Mapping[str, str], float]], convention: Convention) -> Iterator[tuple[Mapping[str, str], float]]:
    """Series that differ only in labels which the convention does not have are added up."""
    found: dict[tuple[tuple[str, str], ...], float] = defaultdict(float)
    for labels, value in values:
        found[tuple(sorted(_attributes(labels, convention).items()))] += value
    yield from ((dict(attributes), value) for attributes, value in found.items())


def _same(points: list[_Point], convention: Convention) -> Iterator[_Point]:
    """The histograms that the convention has a name for; several with the same attributes are added up."""
    found: dict[tuple[tuple[str, str], ...], _Point] = {}
    for labels, counts, bounds, total in points:
        attributes = _attributes(labels, convention)
        if convention.only is not None:
            label, operations = convention.only
            if labels[label] not in operations:
                continue
            attributes["messaging.operation.name"] = operations[labels[label]]
        key = tuple(sorted(attributes.items()))
        if key in found:
            _, before, _, sum_before = found[key]
            found[key] = (attributes, [a + b for a, b in zip(before, counts, strict=True)], bounds, sum_before + total)
        else:
            found[key] = (attributes, counts, bounds, total)
    yield from found.values()


def _context(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=False, trace_flags=flags, trace_state=state)
