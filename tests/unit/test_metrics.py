"""Metrics: what they count, and Clipper's JSON and Prometheus' text of them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from serving_image.metrics import SAMPLES, SPARE, Counter, Histogram, Meter, RatioCounter, Registry, wants_prometheus


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_ratio_is_nan_until_something_happens() -> None:
    part, whole = Counter(), Counter()
    ratio = RatioCounter(part, whole)
    assert math.isnan(ratio.ratio)
    whole.count, part.count = 4, 1
    assert ratio.ratio == 0.25


def test_a_meter_starts_with_its_mean_and_then_follows_the_recent_rate() -> None:
    counter = Counter()
    meter = Meter(counter, now=0.0)
    counter.count = 100
    assert meter.rates(now=4.0) == [25.0] * 4
    meter.tick(now=5.0)
    assert meter.rates(now=5.0) == [20.0] * 4
    meter.tick(now=605.0)  # ten minutes of silence
    mean, one, five, fifteen = meter.rates(now=605.0)
    assert mean == pytest.approx(100 / 605)
    assert 0.0 < one < five < fifteen < 20.0
    assert one == pytest.approx(20.0 * math.exp(-10))


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=300))
def test_a_histogram_describes_its_values(values: list[float]) -> None:
    histogram = Histogram("microseconds")
    for value in values:
        histogram.record(value)
    summary = histogram.summary()
    assert (summary["size"], summary["min"], summary["max"]) == (len(values), min(values), max(values))
    assert summary["min"] <= summary["p50"] <= summary["p95"] <= summary["p99"] <= summary["max"]
    assert sum(value <= summary["p95"] for value in values) >= 0.95 * len(values)
    assert histogram.total == pytest.approx(sum(values))


@pytest.mark.parametrize("extra", [10, SPARE - 1, SPARE, 3 * SPARE + 1])
def test_a_histogram_keeps_the_newest_values_and_counts_all(extra: int) -> None:
    histogram = Histogram("queries")
    for value in range(SAMPLES + extra):
        histogram.record(value)
    summary = histogram.summary()
    assert (summary["min"], summary["max"], summary["size"]) == (extra, SAMPLES + extra - 1, SAMPLES)
    assert (histogram.count, histogram.total) == (SAMPLES + extra, sum(range(SAMPLES + extra)))


def test_a_histogram_without_values_is_all_zeros() -> None:
    assert set(Histogram("queries").summary().values()) == {0.0}


def test_a_total_is_the_sum_of_its_counters_and_loses_nothing_of_those_that_go(clock: Clock) -> None:
    registry = Registry(clock)
    total = registry.total("internal:all")
    one, other = registry.counter("app:a:n"), registry.counter("app:b:n")
    for counter in (one, other, one):
        total.add(counter)
        counter.count += 1
    total.drop(one)
    total.drop(one)
    registry.remove("app:a:")
    other.count += 1
    assert {"internal:all": {"count": "4"}} in json.loads(registry.json())["counters"]


def registry_with_all_kinds(clock: Clock) -> Registry:
    registry = Registry(clock)
    predictions = registry.counter("app:a-b:num_predictions")
    predictions.count += 3
    registry.counter("app:a-b:deadline:num_defaults_by_reason").count += 1
    registry.ratio("app:a-b:default_prediction_ratio", registry.counter("app:a-b:num_defaults"), predictions)
    registry.meter("app:a-b:prediction_throughput", predictions)
    registry.histogram("model:m:1:prediction_latency", "microseconds").record(2.5)
    registry.ratio("internal:prediction_cache_hit_ratio", Counter(), Counter())
    clock.now += 2
    return registry


def test_the_json_is_clippers_and_every_leaf_a_string(clock: Clock) -> None:
    found = json.loads(registry_with_all_kinds(clock).json())
    assert found["counters"][0] == {"app:a-b:num_predictions": {"count": "3"}}
    assert found["ratio_counters"] == [
        {"app:a-b:default_prediction_ratio": {"ratio": "0.0"}},
        {"internal:prediction_cache_hit_ratio": {"ratio": "nan"}},
    ]
    rates = {"rate": "1.5", "rate_1min": "1.5", "rate_5min": "1.5", "rate_15min": "1.5"}
    assert found["meters"] == [{"app:a-b:prediction_throughput": {"unit": "events per second", **rates}}]
    values = dict.fromkeys(("min", "max", "mean", "p50", "p95", "p99"), "2.5")
    assert found["histograms"] == [
        {"model:m:1:prediction_latency": {"unit": "microseconds", "size": "1", "std_dev": "0.0", **values}}
    ]


def test_prometheus_can_read_the_text(clock: Clock) -> None:
    text = registry_with_all_kinds(clock).prometheus().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert found["clipper_app_num_predictions_total", ("app", "a-b")] == 3
    assert found["clipper_app_num_defaults_by_reason_total", ("app", "a-b"), ("reason", "deadline")] == 1
    labels = (("model_name", "m"), ("model_version", "1"))
    assert found["clipper_model_prediction_latency_microseconds", *labels, ("quantile", "0.99")] == 2.5
    assert found["clipper_model_prediction_latency_microseconds_count", *labels] == 1
    assert families["clipper_model_prediction_latency_microseconds"].type == "summary"
    assert math.isnan(found["clipper_internal_prediction_cache_hit_ratio",])


def test_prometheus_also_gets_the_gauges_of_clippers_exporter(clock: Clock) -> None:
    registry = registry_with_all_kinds(clock)
    registry.counter("app:a_b:num_predictions").count += 9  # one name with a-b's there: the first is shown
    registry.counter("model:M.1:2:num_predictions").count += 7
    registry.counter("mc:pred").count += 1  # a replica's, which Clipper's exporter never saw
    families = list(text_string_to_metric_families(registry.prometheus().decode()))
    assert len({family.name for family in families}) == len(families)
    found = {sample.name: sample.value for family in families if family.type == "gauge" for sample in family.samples}
    assert found["app_a_b_num_predictions_count"] == 3
    assert found["app_a_b_prediction_throughput_rate_1min"] == 1.5
    assert found["model_m_1_prediction_latency_p99"] == 2.5
    assert found["model_m_1_prediction_latency_size"] == 1
    assert found["model_M_1_2_num_predictions_count"] == 7
    assert math.isnan(found["internal_prediction_cache_hit_ratio_ratio"])
    assert not [name for name in found if name.startswith("mc") or name.endswith("_unit")]


def test_what_is_removed_is_gone_and_its_namesake_stays(clock: Clock) -> None:
    registry = registry_with_all_kinds(clock)
    registry.counter("app:a-b2:num_predictions")
    registry.remove("app:a-b:")
    assert b"app:a-b:" not in registry.json()
    assert b"app:a-b2:" in registry.json()


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        ("", False), ("*/*", False), ("application/json", False), ("text/plain", True),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
    ],
)  # fmt: skip
def test_prometheus_is_told_from_others_by_what_it_accepts(accept: str, is_text: bool) -> None:
    assert wants_prometheus(accept) is is_text
