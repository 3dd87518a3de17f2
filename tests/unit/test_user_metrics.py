"""Metrics that a model function adds and reports: Clipper's rules, Prometheus' text, and who finds the functions."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from math import inf, nan
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from model_directories import write_model
from prometheus_client.parser import text_string_to_metric_families

import clipper_magic
from clipper_magic import metrics as kernel_metrics
from serving_image import user_metrics
from serving_image.error_log import ErrorLog
from serving_image.model_loader import load_model
from serving_image.user_metrics import DEFAULT_BUCKETS, UserMetrics

ROOT = Path(clipper_magic.__file__).parent.parent


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Return to a process that has no metrics."""
    user_metrics.of_this_process.cache_clear()
    yield
    user_metrics.of_this_process.cache_clear()


def read(text: bytes) -> dict[tuple[str, str], float]:
    """Return the samples by name and, for buckets, by upper bound."""
    families = text_string_to_metric_families(text.decode())
    return {(s.name, s.labels.get("le", "")): s.value for family in families for s in family.samples}


@pytest.mark.parametrize(
    ("metric_type", "values", "expected"),
    [
        ("Gauge", [], {("m", ""): 0}),
        ("Gauge", [3, 1.5, -2], {("m", ""): -2}),
        ("Counter", [3, 1.5, 0], {("m_total", ""): 4.5}),
        ("Summary", [3, 1.5], {("m_count", ""): 2, ("m_sum", ""): 4.5}),
        (
            "Histogram",
            [1, 2, 2.5, 100, inf],
            {
                ("m_bucket", "2.0"): 2,
                ("m_bucket", "10.0"): 3,
                ("m_bucket", "+Inf"): 5,
                ("m_count", ""): 5,
                ("m_sum", ""): inf,
            },
        ),
    ],
)
def test_each_type_does_what_prometheus_means_by_it(
    metric_type: str, values: list[float], expected: dict[tuple[str, str], float]
) -> None:
    found = UserMetrics()
    found.add("m", metric_type, "A metric", [10, 2])
    for value in values:
        found.report("m", value)
    assert read(found.prometheus()) == expected
    assert found.prometheus().startswith(b"# HELP m")
    assert f" {metric_type.lower()}\n".encode() in found.prometheus()


def test_the_text_has_help_and_type_of_each() -> None:
    found = UserMetrics()
    found.add("words_total", "Counter", "Words\nof all \\ texts", DEFAULT_BUCKETS)
    found.add("size", "Gauge", "Size", DEFAULT_BUCKETS)
    found.report("size", nan)
    assert found.prometheus().decode().splitlines() == [
        r"# HELP words_total Words\nof all \\ texts",
        "# TYPE words_total counter",
        "words_total 0.0",
        "# HELP size Size",
        "# TYPE size gauge",
        "size NaN",
    ]
    assert UserMetrics().prometheus() == b""


def test_a_histograms_buckets_are_clippers_by_default() -> None:
    expected = [5, 10, 20, 35, 50, 75, 100, 150, 200, 250, 300, 400, 500, inf]
    for add_metric in (kernel_metrics.add_metric, user_metrics.add_metric):
        parameters = inspect.signature(add_metric).parameters
        assert list(parameters) == ["name", "metric_type", "description", "buckets"]
        assert list(parameters["buckets"].default) == expected


def test_a_repeated_add_is_ignored() -> None:
    found = UserMetrics()
    found.add("m", "Counter", "first", DEFAULT_BUCKETS)
    found.report("m", 2)
    found.add("m", "Gauge", "second", DEFAULT_BUCKETS)
    assert found.prometheus() == b"# HELP m_total first\n# TYPE m_total counter\nm_total 2.0\n"


def test_values_are_what_float_makes_of_them() -> None:
    found = UserMetrics()
    found.add("m", "Gauge", "", DEFAULT_BUCKETS)
    found.report("m", "1.5")  # type: ignore[arg-type]
    assert read(found.prometheus()) == {("m", ""): 1.5}
    with pytest.raises(ValueError, match="could not convert"):
        found.report("m", "much")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda m: m.report_metric("nobody", 1),
            "nobody has not been added. Please use clipper_magic.metrics.add_metric to add this metric",
        ),
        (
            lambda m: m.add_metric("m", "Meter", "no such type"),
            "Metric type needs to be one of ['Gauge', 'Counter', 'Histogram', 'Summary']",
        ),
        (
            lambda m: (m.add_metric("down", "Counter", ""), m.report_metric("down", -1)),
            "Counters can only be incremented by non-negative amounts.",
        ),
        (
            lambda m: m.add_metric("my metric", "Gauge", ""),
            "'my metric' cannot be the name of a metric: letters, digits, '_' and ':', no digit first, "
            "not beginning with clipper_mc_",
        ),
        (
            lambda m: m.add_metric("clipper_mc_pred", "Counter", ""),
            "'clipper_mc_pred' cannot be the name of a metric: letters, digits, '_' and ':', no digit first, "
            "not beginning with clipper_mc_",
        ),
    ],
)
@pytest.mark.parametrize("where", ["kernel", "container"])
def test_a_refusal_is_clippers_exception(act: Any, text: str, where: str) -> None:
    module, error = {
        "kernel": (kernel_metrics, clipper_magic.ClipperException),
        "container": (user_metrics, user_metrics.ClipperException),
    }[where]
    with pytest.raises(error) as caught:
        act(module)
    assert (caught.value.msg, str(caught.value), type(caught.value).__name__) == (text, text, "ClipperException")


def test_threads_may_report_at_one_time() -> None:
    found = UserMetrics()
    found.add("m", "Counter", "", DEFAULT_BUCKETS)
    threads = [threading.Thread(target=lambda: [found.report("m", 1) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(found.prometheus()) == {("m_total", ""): 8000}


# --- in a replica ---

REPORTS = """
def predict(xs):
    metrics.add_metric("inputs", "Counter", "Inputs so far")
    metrics.report_metric("inputs", len(xs))
    return [0 for x in xs]
"""


def test_the_queries_of_the_warm_up_are_not_reported(tmp_path: Path) -> None:
    source = f"from clipper_magic import metrics\n{REPORTS}"
    runner = load_model(write_model(tmp_path, source), "doubles", ErrorLog())
    assert user_metrics.of_this_process().prometheus().endswith(b"\ninputs_total 0.0\n")
    runner.run([bytes(8)] * 3)
    assert user_metrics.of_this_process().prometheus().endswith(b"\ninputs_total 3.0\n")


IN_A_CONTAINER = """
import sys
root, site, model = sys.argv[1:]
sys.path[:] = [site, *(path for path in sys.path if path != root)]
from pathlib import Path
from serving_image.error_log import ErrorLog
from serving_image.model_loader import load_model
from serving_image.user_metrics import of_this_process
runner = load_model(Path(model), "doubles", ErrorLog())
answer = runner.run([bytes(8)] * 2)
assert not answer.errors, answer.errors
import clipper_magic
assert clipper_magic.__spec__.origin is None, clipper_magic
print(of_this_process().prometheus().decode().splitlines()[-1])
"""


@pytest.mark.parametrize(
    "source",
    [
        f"import clipper_magic.metrics as metrics\n{REPORTS}",
        f"from clipper_magic import metrics\n{REPORTS}",
        f"from clipper_magic.metrics import add_metric, report_metric\n{REPORTS.replace('metrics.', '')}",
        REPORTS.replace("    metrics.add", "    from clipper_magic import metrics\n    metrics.add"),
        REPORTS.replace("    metrics.add", "    import clipper_magic.metrics as metrics\n    metrics.add"),
        REPORTS.replace("metrics.", "").replace(
            "    add", "    from clipper_magic.metrics import add_metric, report_metric\n    add"
        ),
    ],
    ids=["module", "from package", "functions", "module inside", "from package inside", "functions inside"],
)
def test_a_function_finds_the_metrics_where_clipper_magic_is_not_installed(source: str, tmp_path: Path) -> None:
    """As in a container: an interpreter that has ``serving_image`` and no ``clipper_magic``."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "serving_image").symlink_to(ROOT / "serving_image")
    write_model(tmp_path / "model", source)
    command = [sys.executable, "-P", "-c", IN_A_CONTAINER, str(ROOT), str(site), str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "inputs_total 2.0\n"), done.stderr


def test_a_function_that_reports_can_be_pickled() -> None:
    reloaded = cloudpickle.loads(cloudpickle.dumps(kernel_metrics.report_metric))
    assert reloaded is kernel_metrics.report_metric
