"""What commands return and show: equal to Python's own values, readable in text and in HTML."""

from __future__ import annotations

import pickle

import pytest
from IPython.lib.pretty import pretty

from clipper_magic.render import (
    Batch,
    Checks,
    Info,
    Logs,
    Metrics,
    Names,
    Prediction,
    Records,
    html_table,
    report,
    running,
    text_table,
    with_code,
)

APPS = [
    {"name": "a", "input_type": "doubles", "linked_models": ["m"]},
    {"name": "b<i>", "input_type": "strings", "linked_models": []},
]


def test_values_equal_pythons_own() -> None:
    assert Names(["a"]) == ["a"]
    assert Records(APPS) == APPS
    assert Info(a=1) == {"a": 1}
    assert Prediction(output=1) == {"output": 1}
    assert Batch([Prediction(output=1)]) == [{"output": 1}]


@pytest.mark.parametrize(
    "value", [Names(["a"]), Records(APPS), Info(a=1), Prediction(output=1), Logs(["p"]), Metrics()]
)
def test_values_can_be_pickled(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


def test_names_read_as_a_list_in_a_terminal() -> None:
    assert pretty(Names(["hello-world"])) == "['hello-world']"
    assert Names(["<b>"])._repr_html_() == '<ul style="margin: 0"><li><code>&lt;b&gt;</code></li></ul>'


def test_records_read_as_a_table() -> None:
    assert pretty(Records(APPS)) == (
        "name  input_type  linked_models\n"
        "a     doubles     m\n"
        "b<i>  strings"
    )  # fmt: skip
    html = Records(APPS)._repr_html_()
    assert '<th scope="col"' in html and "b&lt;i&gt;" in html and html.count("<tr>") == 3
    assert (pretty(Records()), Records()._repr_html_()) == ("[]", "<code>[]</code>")


def test_a_name_heads_its_row() -> None:
    assert pretty(Records([{"input_type": "doubles", "name": "a"}])) == "name  input_type\na     doubles"


def test_metrics_read_as_tables() -> None:
    latency = {"unit": "microseconds", "size": "1", "p50": "688.8410007377388"}
    found = Metrics(
        counters=[{"app:a:num_defaults": {"count": "12"}}, {"b": {"count": "0"}}],
        histograms=[{"app:a:prediction_latency": latency}],
        meters=[],
    )

    assert found["counters"][1] == {"b": {"count": "0"}}
    assert pretty(found) == (
        "counters\nname                count\napp:a:num_defaults  12\nb                   0\n\n"
        "histograms\nname                      unit          size  p50\n"
        "app:a:prediction_latency  microseconds  1     688.841"
    )
    html = found._repr_html_()
    assert "<summary>histograms</summary>" in html and "meters" not in html
    assert html.count("<tr>") == 5 and "688.841</td>" in html
    assert pretty(Metrics()) == "{}"


def test_what_has_several_lines_keeps_them_in_html() -> None:
    html = report(["Forms:\n  `%clipper stop --all`   all"])["text/html"]

    assert html.startswith("<pre style=") and "Forms:\n  <code>%clipper stop --all</code>   all</pre>" in html


def test_info_reads_as_a_dict() -> None:
    assert pretty(Info(name="a", n=1)) == "{'name': 'a', 'n': 1}"
    assert "<code>doubles</code>" in Info(input_type="doubles")._repr_html_()


def test_a_default_answer_tells_its_reason() -> None:
    answer = Prediction(query_id=1, output=-1.0, default=True)
    assert pretty(answer) == "{'query_id': 1, 'output': -1.0, 'default': True}"

    answer.reason = "Too slow. `%clipper logs`"
    assert pretty(answer) == "{'query_id': 1, 'output': -1.0, 'default': True}\n⚠ Too slow. `%clipper logs`"
    assert "<div>⚠ Too slow. <code>%clipper logs</code></div>" in answer._repr_html_()


def test_a_batch_tells_each_reason_once() -> None:
    late = [Prediction(output=-1.0), Prediction(output=-1.0)]
    for answer in late:
        answer.reason = "Too slow."

    assert pretty(Batch(late)) == "[{'output': -1.0}, {'output': -1.0}]\n⚠ Too slow."


def test_checks_show_a_glyph_and_no_colour_alone() -> None:
    checks = Checks(
        a={"ok": True, "message": "fine"}, b={"ok": False, "message": "bad"}, c={"ok": None, "message": "so"}
    )

    assert pretty(checks) == "✓ fine\n✗ bad\n· so"


def test_backticks_become_code_and_data_is_escaped() -> None:
    assert with_code("see `%clipper <x>`") == "see <code>%clipper &lt;x&gt;</code>"
    assert with_code("a ` b") == "a ` b"


def test_a_report_folds_its_log() -> None:
    done = report(["Done."], ["a < b"], "log")
    assert done["text/plain"] == "Done."
    assert "<details><summary>log</summary>" in done["text/html"] and "a &lt; b" in done["text/html"]


def test_a_report_of_a_failure_shows_what_the_error_quotes_and_folds_its_log() -> None:
    failed = report([], ["Step 1/2"], "log", ["KeyError: 'price'"], "details")

    assert failed["text/plain"] == "KeyError: 'price'"
    assert "<details><summary>log</summary>" in failed["text/html"]
    assert failed["text/html"].endswith(
        '<details open><summary>details</summary><pre style="white-space: pre-wrap; margin: 0">'
        "KeyError: &#x27;price&#x27;</pre></details>"
    )


def test_what_runs_has_a_named_progress_bar() -> None:
    bundle = running("deploying m:1", "Step 1/2")

    assert bundle["text/plain"] == "deploying m:1 · Step 1/2"
    assert '<progress aria-label="deploying m:1">' in bundle["text/html"]


def test_html_survives_a_notebook_that_is_not_trusted() -> None:
    everything = (
        html_table(["a"], [["1"]], "title") + Info(a=1)._repr_html_() + report(["x"], ["l"], "log")["text/html"]
    )

    assert not any(word in everything for word in ("<style", "<svg", "var(", "<script"))


def test_text_tables_are_aligned() -> None:
    assert text_table(["a", "long"], [["wide cell", "1"]]) == "a          long\nwide cell  1"
