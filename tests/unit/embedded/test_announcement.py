"""The configuration of Prometheus that `waggle up` writes."""

import yaml

from waggle_embedded.announcement import prometheus


def test_every_address_is_scraped_by_its_scheme() -> None:
    urls = {"api": "https://127.0.0.1:1/metrics", "worker": ["http://127.0.0.1:2/metrics", "http://127.0.0.1:3/metrics"], "dlq": "http://[::1]:4/metrics"}
    plain, tls = yaml.safe_load(prometheus(urls))["scrape_configs"]
    assert plain["static_configs"] == [
        {"targets": ["127.0.0.1:2", "127.0.0.1:3"], "labels": {"service": "worker"}},
        {"targets": ["[::1]:4"], "labels": {"service": "dlq"}},
    ]
    assert (tls["scheme"], tls["static_configs"]) == ("https", [{"targets": ["127.0.0.1:1"], "labels": {"service": "api"}}])
