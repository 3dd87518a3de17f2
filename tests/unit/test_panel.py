"""The panel without a browser: figures from answers, words from figures, the forms that stand still, the ticker."""

from __future__ import annotations

import base64
import logging
import re
import struct
import threading
import xml.etree.ElementTree
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from clipper_magic.panel import chart, static
from clipper_magic.panel.board import NOTHING, Board, slo_words
from clipper_magic.panel.figures import CURVES, POINTS, Figures, History, app_to_show
from clipper_magic.panel.poller import THREAD_PREFIX, Ticker, not_of_the_panel
from clipper_magic.wording import Texts

STATUS = {
    "cluster": "blue",
    "applications": [
        {"name": "hello", "input_type": "doubles", "latency_slo_micros": 100_000, "linked_models": ["m"]},
        {"name": "lonely", "input_type": "strings", "latency_slo_micros": 20_000, "linked_models": []},
    ],
    "models": [
        {
            "model_name": "m",
            "versions": [
                {"model_version": "1", "is_current_version": False, "replicas": [{}]},
                {"model_version": "2", "is_current_version": True, "replicas": [{}, {}, {}]},
            ],
        },
        {"model_name": "free", "versions": [{"model_version": "1", "is_current_version": True, "replicas": []}]},
    ],
}


def answers(predictions: int = 0, defaults: int = 0, errors: int = 0, p99: int = 9_000, **more: Any) -> dict[str, Any]:
    """Return what /metrics answers after so many predictions."""
    counts = {
        "app:hello:num_predictions": predictions,
        "app:hello:num_defaults": defaults,
        "app:hello:deadline:num_defaults_by_reason": defaults,
        "app:hello:model_error:num_defaults_by_reason": 0,
        "model:m:2:num_predictions": predictions,
        "model:m:2:num_cache_lookups": 2 * predictions,
        "model:m:2:num_cache_hits": predictions,
        "model:m:2:num_model_errors": errors,
    }
    latency = {"unit": "microseconds", "size": str(predictions), "p50": "1200", "p95": "3400", "p99": str(p99)}
    batch = {"unit": "queries", "size": str(predictions), "mean": "3.25"}
    return {
        "counters": [{name: {"count": str(count)}} for name, count in counts.items()],
        "histograms": [{"app:hello:prediction_latency": latency}, {"model:m:2:batch_size": batch}],
    }


def figures(
    *looks: dict[str, Any], observed: dict[str, int] | None = None, asked: dict[str, int] | None = None
) -> Figures:
    """Return the last figures of looks that are one second apart."""
    history = History()
    found = [history.add(STATUS, look, observed, asked or {}, float(i)) for i, look in enumerate(looks)]
    return found[-1]


def test_rates_come_from_differences() -> None:
    hello = figures(answers(0), answers(10), answers(50)).apps[0]

    assert hello.qps == pytest.approx(25.0)
    assert (hello.p50, hello.p95, hello.p99) == (0.0012, 0.0034, 0.009)


def test_a_rate_is_of_the_last_seconds_only() -> None:
    assert figures(*(answers(n) for n in (0, 1000, 1000, 1000, 1000))).apps[0].qps == 0.0


def test_a_restarted_frontend_gives_no_negative_rate() -> None:
    assert figures(answers(500), answers(3), answers(13)).apps[0].qps == pytest.approx(10.0)


def test_shares_and_reasons() -> None:
    found = figures(answers(200, defaults=10))

    assert (found.apps[0].default_share, found.apps[0].reasons) == (0.05, {"deadline": 10})
    version = found.versions[1]
    assert (version.key, version.cache_hits, version.batch) == ("m:2", 0.5, 3.25)


def test_nothing_measured_is_none_and_no_zero() -> None:
    lonely, free = figures(answers()).apps[1], figures(answers()).versions[2]

    assert (lonely.p50, lonely.default_share, lonely.model) == (None, None, None)
    assert (free.batch, free.cache_hits, free.p99) == (None, None, None)


def test_requested_and_observed_replicas_are_kept_apart() -> None:
    found = figures(answers(), observed={"m:2": 2}, asked={"m:2": 5}).versions[1]
    assert (found.requested, found.observed) == (5, 2)

    dead = figures(answers(), observed={}).versions[0]
    assert (dead.requested, dead.observed) == (1, 0)


def test_curves_are_packed_and_have_gaps_where_nobody_asked() -> None:
    history = History()
    for i, count in enumerate((0, 10, 20, 20, 20, 20)):
        history.add(STATUS, answers(count), None, {}, float(i))
    curves = chart.read_curves(history.curves("hello"))

    assert curves.shape == (len(CURVES), POINTS)
    assert curves[0, -5:-3] == pytest.approx([0.0012, 0.0012])
    assert np.isnan(curves[0, [-6, -1]]).all()
    assert curves[3, -1] == 0.0
    assert len(history.curves("nobody")) == len(CURVES) * POINTS * 4
    assert np.isnan(struct.unpack("<f", history.curves("nobody")[:4])[0])


def test_an_unregistered_application_is_forgotten() -> None:
    history = History()
    history.add(STATUS, answers(1), None, {}, 0.0)
    history.add({**STATUS, "applications": []}, answers(1), None, {}, 1.0)

    assert np.isnan(chart.read_curves(history.curves("hello"))).all()


@pytest.mark.parametrize(
    ("shown", "chosen", "expected"),
    [("", False, "hello"), ("lonely", False, "hello"), ("lonely", True, "lonely"), ("gone", True, "hello")],
)
def test_the_chart_follows_who_is_asked_until_somebody_chooses(shown: str, chosen: bool, expected: str) -> None:
    assert app_to_show(figures(answers(0), answers(10)), shown, chosen=chosen) == expected


def test_the_chart_stays_where_it_is_when_nobody_asks() -> None:
    assert app_to_show(figures(answers(10)), "lonely", chosen=False) == "lonely"
    assert app_to_show(Figures("blue", (), ()), "lonely", chosen=False) == ""


def test_what_was_not_asked_in_the_last_minute_has_no_picture() -> None:
    history = History()
    history.add(STATUS, answers(10), None, {}, 0.0)
    assert not history.asked_lately("hello")

    history.add(STATUS, answers(20), None, {}, 1.0)
    assert history.asked_lately("hello") and not history.asked_lately("lonely") and not history.asked_lately("gone")


def rows(language: str = "en", **options: Any) -> list[dict[str, Any]]:
    return Board(Texts(language)).rows(figures(answers(0), answers(200, defaults=10), **options))


def test_rows_begin_with_what_serves() -> None:
    found = [(row["id"], row["app"], row["first"], row["current"]) for row in rows()]

    assert found == [
        ("hello/m:2", "hello", True, True),
        ("hello/m:1", "", False, False),
        ("lonely/", "lonely", True, True),
        ("/free:1", NOTHING, True, True),
    ]


def test_words_of_a_row() -> None:
    first = rows()[0]

    assert {name: first[name] for name in ("facts", "latency", "qps", "batch", "cache", "defaults", "why", "late")} == {
        "facts": "doubles · SLO 100 ms",
        "latency": "1.2 / 3.4 / 9.0 ms",
        "qps": "200",
        "batch": "3.2",
        "cache": "50%",
        "defaults": "5.0%",
        "why": "SLO missed:\u00a010",
        "late": False,
    }


def test_words_in_french() -> None:
    first = rows("fr")[0]

    assert first["latency"] == "1,2 / 3,4 / 9,0\u202fms"
    assert (first["defaults"], first["why"], first["facts"]) == (
        "5,0\u202f%", "SLO manqué\u00a0:\u00a010", "doubles · SLO 100\u202fms",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("observed", "asked", "errors", "state"),
    [
        ({"m:2": 3}, {}, 0, "● serving"),
        ({"m:2": 3}, {}, 1, "⚠ 1 error"),
        ({"m:2": 2}, {}, 3, "◌ starting"),
        ({"m:2": 3}, {"m:2": 2}, 0, "◌ stopping"),
        ({}, {"m:2": 0}, 0, "○ no replica"),
    ],
)
def test_a_state_is_a_glyph_and_a_word(
    observed: dict[str, int], asked: dict[str, int], errors: int, state: str
) -> None:
    row = Board(Texts("en")).rows(figures(answers(1, errors=errors), observed=observed, asked=asked))[0]

    assert f"{row['glyph']} {row['state']}" == state


@pytest.mark.parametrize(("language", "state"), [("en", "○ not linked"), ("fr", "○ non liée")])
def test_a_model_that_no_application_asks_does_not_serve(language: str, state: str) -> None:
    last = Board(Texts(language)).rows(figures(answers(), observed={"free:1": 1}, asked={"free:1": 1}))[-1]

    assert (last["key"], f"{last['glyph']} {last['state']}") == ("free:1", state)


@pytest.mark.parametrize(
    ("values_s", "words"),
    [
        ((8e-6, 9e-6, 12e-6), "8.0 / 9.0 / 12 µs"),
        ((8e-6, 0.0034, 0.012), "0.01 / 3.4 / 12 ms"),
        ((0.5, None, 2.0), "0.50 / – / 2.0 s"),
        ((None, None, None), NOTHING),
    ],
)
def test_latencies_have_the_unit_of_the_largest(values_s: tuple[float | None, ...], words: str) -> None:
    assert Board(Texts("en"))._latencies(*values_s) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0%"), (0.0002, "<0.1%"), (0.001, "0.1%"), (0.0996, "10%"), (0.5, "50%"), (1.0, "100%"), (None, NOTHING)],
)
def test_a_share_that_is_not_zero_does_not_read_zero(value: float | None, words: str) -> None:
    assert Board(Texts("en"))._share(value) == words


@pytest.mark.parametrize(("value", "words"), [(0.0, "0"), (0.9999, "1.0"), (1.04, "1.0"), (9.97, "10"), (0.25, "0.25")])
def test_a_number_has_two_digits_or_more(value: float, words: str) -> None:
    assert Board(Texts("en"))._number(value) == words


@pytest.mark.parametrize(
    ("exponent", "label"), [(-6, "1 µs"), (-4, "100 µs"), (-3, "1 ms"), (-1, "100 ms"), (0, "1 s")]
)
def test_decades_have_short_labels(exponent: int, label: str) -> None:
    assert chart.tick(exponent) == label


def test_a_p99_beyond_the_slo_is_marked() -> None:
    assert Board(Texts("en")).rows(figures(answers(1, p99=120_000)))[0]["late"] is True


def still(language: str = "en") -> dict[str, str]:
    history = History()
    for i in range(3):
        found = history.add(STATUS, answers(10 * i), None, {}, float(i))
    texts = Texts(language)
    charts = {"hello": (history.curves("hello"), *slo_words(found, texts)["hello"])}
    return static.bundle("Cluster <blue>", Board(texts).rows(found), charts, texts)


def test_the_still_form_survives_a_notebook_that_is_not_trusted() -> None:
    html = still()["text/html"]

    assert not any(word in html for word in ("<svg", "<style", "var(", "<script"))
    assert '<caption style="text-align: left">Cluster &lt;blue&gt;</caption>' in html
    assert '<th scope="col"' in html and "hello (doubles · SLO 100 ms)" in html
    [data] = re.findall(r'<img alt="Latency of hello, last minute" src="data:image/svg\+xml;base64,([^"]+)">', html)
    picture = xml.etree.ElementTree.fromstring(base64.b64decode(data))
    words = [element.text for element in picture.iter() if element.tag.endswith("text")]
    assert {"p50", "p95", "p99", "SLO 100 ms", "1 ms", "100 ms"} <= set(words)


def test_a_point_without_neighbours_is_a_dot() -> None:
    values = np.full((len(CURVES), POINTS), np.nan, np.float32)
    values[0, 10] = values[0, 20] = values[0, 21] = 0.01
    picture = chart.svg(values, 0.1, "SLO 100 ms", "title")

    [dot] = re.findall(r'<path d="(M[\d.]+ [\d.]+h0)" stroke="#1f77b4" stroke-width="4.5" stroke-linecap', picture)
    assert dot.startswith("M88.2 ") and picture.count("h0") == 1


def test_the_still_form_reads_in_a_terminal() -> None:
    lines = still("fr")["text/plain"].splitlines()

    assert lines[0] == "Cluster <blue>"
    assert lines[1].startswith("Application") and "Répliques" in lines[1]
    assert re.match(r"hello \(doubles · SLO 100\u202fms\) +m:2 \(courante\) +● en service +3/3 ", lines[2])


def test_a_narrow_terminal_gets_a_paragraph_a_row() -> None:
    history, texts = History(), Texts("en")
    for i in range(3):
        found = history.add(STATUS, answers(100 * i, defaults=2 * i), None, {}, float(i))
    rows = Board(texts).rows(found)
    wide = static.bundle("Cluster", rows, {}, texts)["text/plain"]
    narrow = static.bundle("Cluster", rows, {}, texts, 60)["text/plain"].splitlines()

    assert static.bundle("Cluster", rows, {}, texts, 200)["text/plain"] == wide
    assert narrow[:5] == [
        "Cluster",
        "hello (doubles · SLO 100 ms)",
        "  m:2 (current)  ● serving  3/3",
        "    Latency p50 / p95 / p99 1.2 / 3.4 / 9.0 ms ·",
        "    Queries/s 100 · Batch size 3.2 · Cache hits 50% ·",
    ]
    assert narrow[-2:] == ["  free:1 (current)  ○ no replica  0/0", "    Queries/s 0"]  # only what was measured
    assert max(map(len, narrow)) <= 60


def test_an_empty_cluster_has_a_still_form() -> None:
    empty = static.bundle("Cluster", [], {}, Texts("en"))

    assert empty == {"text/html": "<div>Cluster</div>", "text/plain": "Cluster"}


def test_labels_never_cover_each_other() -> None:
    labels = [(100.0, "a", "x"), (101.0, "b", "x"), (102.0, "c", "x"), (149.0, "d", "x")]
    places = [at for at, _, _ in chart.spread(labels)]

    assert all(b - a >= chart.LABEL_GAP for a, b in pairwise(places))
    assert max(places) <= chart.HEIGHT


def test_the_scale_holds_the_slo_and_every_latency() -> None:
    curves = np.full((4, POINTS), np.nan, np.float32)
    curves[2, -1] = 3.0

    low, high = chart.bounds(curves, 0.1)
    assert low <= 0.01 and high >= 3.0


def test_a_ticker_ends_when_its_work_says_so() -> None:
    looks: list[str] = []

    def work() -> bool:
        looks.append(threading.current_thread().name)
        return len(looks) < 3

    ticker = Ticker(work, 0.001)
    ticker.start()
    ticker._thread.join(10)  # type: ignore[union-attr]

    assert (len(looks), ticker.alive) == (3, False)
    assert all(name.startswith(THREAD_PREFIX) for name in looks)
    ticker.start()  # and can begin again
    ticker.stop()
    assert not ticker.alive


def test_a_ticker_starts_once_and_can_be_stopped() -> None:
    seen = threading.Event()

    def work() -> bool:
        seen.set()
        return True

    ticker = Ticker(work, 60.0)
    ticker.start()
    assert seen.wait(10)
    first = ticker._thread
    ticker.start()
    assert ticker._thread is first
    ticker.stop()
    assert not ticker.alive


def test_log_lines_of_the_panels_threads_are_kept_out() -> None:
    record = logging.LogRecord("clipper_magic", logging.INFO, "f.py", 1, "x", None, None)
    assert not_of_the_panel(record)
    record.threadName = f"{THREAD_PREFIX}-work_0"
    assert not not_of_the_panel(record)
