"""A batch of values leaves the same histogram as the values one by one."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from waggle.telemetry.histograms import BatchHistogram

VALUES = [0.0, 0.05, 0.1, 0.100001, 0.5, 1.0, 7.0, 1e9]


def page(kind: type[Histogram], *, at_once: bool) -> bytes:
    registry = CollectorRegistry()
    child = kind("seconds", "Some", ["type"], buckets=(0.1, 1, 5), registry=registry).labels("a")
    if at_once:
        assert isinstance(child, BatchHistogram)
        child.observe_all(VALUES)
        child.observe_all([])
    else:
        for value in VALUES:
            child.observe(value)
    return b"\n".join(line for line in generate_latest(registry).splitlines() if b"_created" not in line)


def test_a_batch_counts_as_its_values() -> None:
    assert page(BatchHistogram, at_once=True) == page(Histogram, at_once=False)
    assert b'seconds_bucket{le="0.1",type="a"} 3.0' in page(BatchHistogram, at_once=True)
