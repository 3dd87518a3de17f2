"""Each command returns what the Python API returns, and says what happened."""

from __future__ import annotations

import ast
import logging
import re
from typing import Any

import pytest
from magics_world import Shell, World
from requirements import require_modules

from clipper_magic.commands import queries
from clipper_magic.commands.boundary import Interrupted
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import ClipperUsageError, ModelCheckError, ReplicaStartError

Capture = pytest.CaptureFixture[str]


def said(capsys: Capture) -> str:
    return capsys.readouterr().out


def test_load_ext_is_silent_and_harmless_twice(world: World, capsys: Capture) -> None:
    shell = Shell()
    first = shell.session
    shell.ip.run_line_magic("reload_ext", "clipper_magic")

    assert capsys.readouterr() == ("", "")
    assert shell.session is not first
    assert len([c for c in shell.ip.configurables if type(c).__name__ == "Clipper"]) == 1
    assert len(shell.ip.Completer.custom_matchers) == 1
    shell.close()


def test_a_question_mark_shows_every_command(shell: Shell, capsys: Capture) -> None:
    shell.ip.run_line_magic("pinfo", "%clipper")

    shown = said(capsys)
    assert "Serve models from this notebook" in shown and "%clipper link APP MODEL" in shown


def test_unload_ext_leaves_nothing(shell: Shell) -> None:
    shell.ip.run_line_magic("unload_ext", "clipper_magic")

    assert shell.ip.find_line_magic("clipper") is None
    assert shell.ip.find_cell_magic("clipper_deploy") is None
    assert shell.ip.Completer.custom_matchers == []
    shell.ip.run_line_magic("load_ext", "clipper_magic")  # the fixture unloads it


def test_start_then_start_again_connects(shell: Shell, capsys: Capture) -> None:
    info = shell.run("%clipper start")
    first = said(capsys)
    again = shell.run("%clipper start")

    assert info == again == {
        "cluster": "default-cluster",
        "backend": "local",
        "query_addr": "default-cluster:1337",
        "admin_addr": "default-cluster:1338",
        "metric_addr": "default-cluster:1337",
    }  # fmt: skip
    assert "Docker does not answer: using local processes" in first and "Clipper is running" in first
    assert "default-cluster is already running: connected. 0 applications, 0 models, 0 replicas." in said(capsys)


def test_a_port_that_is_another_is_said(shell: Shell, capsys: Capture) -> None:
    shell.run("%clipper start --query-port 4000;")

    assert "Port 4000 is taken: using port 1337." in said(capsys)


def test_any_command_finds_the_running_cluster_and_says_so_once(serving: Shell, capsys: Capture) -> None:
    serving.session.connection = None  # what a kernel restart leaves
    said(capsys)

    assert serving.run("%clipper apps") == ["hello-world"]
    assert "Connected to the running cluster default-cluster" in said(capsys)
    serving.run("%clipper apps")
    assert "Connected" not in said(capsys)


def test_register_again_changes_nothing_and_says_so(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    info = serving.run("%clipper register hello-world --input-type double --default-output -1.0 --slo-micros 100000")

    assert "unchanged" in said(capsys)
    assert info == serving.session.connection.get_app_info("hello-world")


def test_link_and_unlink(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    assert serving.run("%clipper link hello-world sum-model") is None
    assert "already: unchanged" in said(capsys)

    serving.run("%clipper unlink hello-world sum-model")
    assert serving.run("%clipper linked hello-world") == []
    serving.run("%clipper link hello-world sum-model")
    assert serving.run("%clipper linked hello-world") == ["sum-model"]


@pytest.mark.parametrize(
    ("line", "api"),
    [
        ("apps", "get_all_apps()"),
        ("apps -v", "get_all_apps(verbose=True)"),
        ("app hello-world", "get_app_info('hello-world')"),
        ("linked hello-world", "get_linked_models('hello-world')"),
        ("models", "get_all_models()"),
        ("models -v", "get_all_models(verbose=True)"),
        ("model sum-model", "get_model_info('sum-model', 2)"),
        ("model sum-model:1", "get_model_info('sum-model', 1)"),
        ("version sum-model", "get_current_model_version('sum-model')"),
        ("replicas", "get_all_model_replicas()"),
        ("replicas sum-model", "get_num_replicas('sum-model')"),
        ("replicas sum-model:1", "get_num_replicas('sum-model', 1)"),
        ("replica sum-model:1 0", "get_model_replica_info('sum-model', 1, 0)"),
        ("addr", "get_query_addr()"),
        ("addr metric", "get_metric_addr()"),
        ("addr admin", "cm.get_admin_addr()"),
        ("test f [[1.0,2.0]] --input-type doubles", "test_predict_function({'input': [1.0, 2.0]}, f, 'doubles')"),
    ],
)
def test_a_command_returns_what_the_api_returns(serving: Shell, line: str, api: str) -> None:
    value = serving.run(f"x = %clipper {line}\nx")

    assert value == eval(f"c.{api}", {"c": serving.session.connection, "f": serving.ip.user_ns["f"]})


def test_conn_is_the_connection(serving: Shell) -> None:
    assert serving.run("%clipper conn") is serving.session.connection


def test_a_semicolon_silences_the_value(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    serving.run("%clipper apps;")
    assert said(capsys) == ""


def test_output_assigns_instead_of_showing(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    assert serving.run("%clipper apps -o names") is None
    assert serving.ip.user_ns["names"] == ["hello-world"]
    assert said(capsys) == ""


def test_python_values_expand(serving: Shell) -> None:
    serving.ip.user_ns["app"] = "hello-world"

    assert (
        serving.run("%clipper app {app}") == serving.run("%clipper app $app") == serving.run("%clipper app hello-world")
    )


# --- deploy ---


def test_deploy_says_what_it_did_and_links(shell: Shell, capsys: Capture) -> None:
    shell.run("%clipper start;")
    shell.run("%clipper register a --input-type doubles --default-output x --slo 1s;")
    said(capsys)
    info = shell.run("%%clipper_deploy m --app a\ndef predict(xs): return xs")

    assert (info["model_name"], info["model_version"], info["input_type"]) == ("m", "1", "doubles")
    assert said(capsys).startswith("Model m:1 deployed: 1 replica ready, linked to a · ")
    assert shell.run("%clipper linked a") == ["m"]


def test_packages_that_were_found_are_named(serving: Shell, capsys: Capture) -> None:
    import numpy as np

    said(capsys)
    serving.run("%%clipper_deploy sum-model\nimport numpy as np\ndef f(xs): return np.sum(xs, axis=1)")

    assert f"Package found: numpy=={np.__version__} (Python 3." in said(capsys)


def test_packages_are_not_looked_for_when_told_so(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    serving.run("%%clipper_deploy sum-model --no-detect\nimport numpy as np\ndef f(xs): return np.sum(xs, axis=1)")

    assert "Packages found" not in said(capsys)


def test_the_next_version_is_a_number_and_becomes_current(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    serving.run("%%clipper_deploy sum-model\ndef f(xs): return [0 for x in xs]")

    assert serving.run("%clipper version sum-model") == "3"
    assert "sum-model:2, still there" in said(capsys)


def test_the_same_content_is_not_deployed_twice(serving: Shell, world: World, capsys: Capture) -> None:
    built = world.clusters["default-cluster"].built
    said(capsys)
    serving.run("%%clipper_deploy sum-model\ndef f(xs): return [str(max(x)) for x in xs]")

    assert "sum-model:2 is deployed already, with the same content: unchanged." in said(capsys)
    assert world.clusters["default-cluster"].built == built


def test_run_all_twice_changes_nothing(serving: Shell) -> None:
    """The content of the first version is found again, made current, and gives way to the second again."""
    before = serving.run("%clipper models -v"), serving.run("%clipper replicas")
    serving.run("%%clipper_deploy sum-model:1 --app hello-world\ndef f(xs): return [str(sum(x)) for x in xs]")
    assert serving.run("%clipper version sum-model") == "1"
    serving.run("%%clipper_deploy sum-model\ndef f(xs): return [str(max(x)) for x in xs]")

    assert (serving.run("%clipper models -v"), serving.run("%clipper replicas")) == before


def test_more_replicas_of_the_same_content_are_started(serving: Shell) -> None:
    serving.run("%%clipper_deploy sum-model --replicas 2\ndef f(xs): return [str(max(x)) for x in xs]")

    assert serving.run("%clipper replicas sum-model") == 2


def test_labels_and_packages_reach_the_api(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    real = python_deployer.deploy_python_closure
    monkeypatch.setattr(
        python_deployer, "deploy_python_closure", lambda *args, **named: (calls.append(named), real(*args, **named))
    )
    shell.run("%clipper start;")
    shell.run("def f(xs): return xs")
    shell.run(
        '%clipper deploy m:7 --func f --input-type d --labels a,b --pkgs x --batch-size 4 --replicas 2 --example "[1]"'
    )

    [named] = calls
    assert named["labels"][:2] == ["a", "b"] and named["labels"][2].startswith("content-")
    assert (named["pkgs_to_install"], named["batch_size"], named["num_replicas"], named["example"]) == (
        ["x"],
        4,
        2,
        [1],
    )


def test_a_check_runs_here_first(serving: Shell, world: World, capsys: Capture) -> None:
    built = world.clusters["default-cluster"].built
    said(capsys)
    serving.run('%%clipper_deploy sum-model --check "[[1,2],[3,4]]"\ndef f(xs): return [str(min(x)) for x in xs]')
    assert "Check passed in the kernel: `['1.0', '3.0']`" in said(capsys)

    with pytest.raises(ModelCheckError) as caught:
        serving.run("%%clipper_deploy sum-model --check [1,2]\ndef f(xs): return 1 / 0")
    assert caught.value.code == "check-raised"
    out = said(capsys)
    assert re.search(r"  Cell In\[\d+\], line 1, in f\n", out)
    assert "return 1 / 0" in out and "clipper_magic" not in out.split("ModelCheckError")[0]

    with pytest.raises(ModelCheckError) as caught:
        serving.run("%%clipper_deploy sum-model --check [1,2]\ndef f(xs): return []")
    assert caught.value.code == "check-wrong-length"
    assert world.clusters["default-cluster"].built == built + 1


def test_a_reason_that_is_a_sentence_fits_into_ours(serving: Shell) -> None:
    with pytest.raises(ModelCheckError, match=r"on the check input: Too long; nothing was built"):
        serving.run('%%clipper_deploy sum-model --check [1,2]\ndef f(xs): raise ValueError("Too long.")')


def test_the_cell_runs_in_the_notebook(serving: Shell) -> None:
    serving.run("%%clipper_deploy sum-model\nanswer = 42\ndef f(xs): return [answer for x in xs]")

    assert serving.ip.user_ns["answer"] == 42
    assert serving.ip.user_ns["f"]([1]) == [42]


def test_an_exception_in_the_cell_is_the_users_own(serving: Shell) -> None:
    with pytest.raises(ZeroDivisionError):
        serving.run("%%clipper_deploy sum-model\n1 / 0")


def test_a_replica_that_dies_shows_its_log(serving: Shell, world: World, capsys: Capture) -> None:
    world.death = "Traceback\nModuleNotFoundError: No module named 'xgboost'"
    said(capsys)
    with pytest.raises(ReplicaStartError):
        serving.run("%%clipper_deploy sum-model\ndef f(xs): return [1 for x in xs]")

    shown = said(capsys)
    assert "Traceback\nModuleNotFoundError" in shown
    assert "Last log lines: ModuleNotFoundError: No module named 'xgboost'. Fix: " in shown.splitlines()[-1]
    assert serving.run("%clipper version sum-model") == "2"


def test_an_interrupt_says_what_became_of_it(serving: Shell, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(*args: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(python_deployer, "deploy_python_closure", interrupted)
    said(capsys)
    with pytest.raises(Interrupted):
        serving.run("%%clipper_deploy sum-model\ndef f(xs): return [1 for x in xs]")

    assert said(capsys).splitlines()[-1] == (
        "Interrupted: the deployment of sum-model:3 was cancelled; nothing was deployed."
    )


def test_endpoint_is_all_three_in_one(shell: Shell) -> None:
    shell.run("%clipper start;")
    shell.run("def f(xs): return xs")
    info = shell.run("%clipper endpoint easy --func f --input-type strings")

    assert info == {
        "name": "easy",
        "input_type": "strings",
        "default_output": "None",
        "latency_slo_micros": 3_000_000,
        "linked_models": ["easy"],
    }
    assert shell.run("%clipper endpoint easy --func f --input-type strings") == info


def test_records(shell: Shell, capsys: Capture) -> None:
    require_modules("pandas")
    shell.run("%clipper start;")
    shell.run("%clipper register houses --input-type records --default-output 0 --slo 100ms;")
    cell = "def price(houses): return houses['rooms'] * 10"
    check = '--check [{"rooms":2},{"rooms":3}]'

    shell.run(f"%%clipper_deploy price --app houses --as-dataframe {check}\n{cell}")
    assert "['20', '30']" in said(capsys)
    assert shell.run("%clipper app houses")["input_type"] == "json"
    assert shell.run('%clipper test price {"rooms":4} --input-type json --as-dataframe').tolist() == [40]
    with pytest.raises(ModelCheckError, match=r"price raised TypeError on the check input"):
        shell.run(f"%%clipper_deploy price {check}\n{cell}")
    with pytest.raises(ModelCheckError, match="a record is expected, a JSON object, not int"):
        shell.run(f"%%clipper_deploy price --as-dataframe --check 3\n{cell}")


def test_an_endpoint_that_fails_leaves_no_application(shell: Shell, world: World) -> None:
    shell.run("%clipper start;\ndef f(xs): return xs")
    world.death = "ModuleNotFoundError"
    with pytest.raises(ReplicaStartError):
        shell.run("%clipper endpoint easy --func f --input-type strings")

    assert shell.run("%clipper apps") == []


def test_build_deploy_image_and_register_model(serving: Shell, tmp_path: Any) -> None:
    image = serving.run(f"%clipper build other:1 {tmp_path}")
    assert image == "default-cluster-other:1"

    info = serving.run(f"%clipper deploy-image other:1 {image} --input-type doubles --replicas 2")
    assert (info["container_name"], serving.run("%clipper replicas other")) == (image, 2)

    info = serving.run("%clipper register-model elsewhere:1 --input-type ints --labels a,b")
    assert (info["input_type"], info["labels"], info["container_name"]) == ("integers", ["a", "b"], "NO_CONTAINER")


# --- versions and replicas ---


def test_version_and_rollback(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    assert serving.run("%clipper rollback sum-model")["model_version"] == "1"
    assert "back to version 1 (was 2)" in said(capsys)
    assert serving.run("%clipper version sum-model") == "1"

    assert serving.run("%clipper version sum-model 2 --replicas 3")["is_current_version"] is True
    assert serving.run("%clipper replicas sum-model") == 3


def test_a_version_without_replicas_is_pointed_out(serving: Shell, capsys: Capture) -> None:
    serving.run("%clipper replicas sum-model:1 0;")
    said(capsys)
    serving.run("%clipper rollback sum-model;")

    assert "`%clipper replicas sum-model:1 1` starts one" in said(capsys)


def test_replicas_are_scaled_and_it_is_said(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    assert serving.run("%clipper replicas sum-model 3") == 3
    assert "sum-model:2: 3 replicas ready (was 1) · " in said(capsys)
    assert serving.run("%clipper replicas sum-model 3") == 3
    assert "already: unchanged" in said(capsys)
    assert serving.run("%clipper replicas sum-model:2 0") == 0


# --- queries ---


def answer_with(monkeypatch: pytest.MonkeyPatch, status: int, answer: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    class Reply:
        status_code = status
        text = "metric 1"

        def json(self) -> Any:
            return answer

    monkeypatch.setattr(
        queries, "_send", lambda method, addr, path, timeout, **options: sent.append(options) or Reply()
    )
    return sent


def test_predict_returns_the_rest_answer(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = answer_with(monkeypatch, 200, {"query_id": 0, "output": 6.6, "default": False})

    assert serving.run("%clipper predict hello-world [1.1, 2.2, 3.3] --version 1") == {
        "query_id": 0, "output": 6.6, "default": False,
    }  # fmt: skip
    assert sent == [{"json": {"input": [1.1, 2.2, 3.3], "version": "1"}}]


def test_predict_of_a_list_of_inputs_returns_a_list(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = answer_with(monkeypatch, 200, {"batch_predictions": [{"output": 1, "default": False}] * 2})

    assert serving.run("%clipper predict hello-world [[1], [2]]") == [{"output": 1, "default": False}] * 2
    assert sent == [{"json": {"input_batch": [[1], [2]]}}]


@pytest.mark.parametrize(
    ("explanation", "before", "reason"),
    [
        (
            "No connected models found for query",
            "",
            "Default output: no replica of sum-model is ready. `%clipper replicas sum-model 1`",
        ),
        (
            "No connected models found for query",
            "%clipper unlink hello-world sum-model",
            "Default output: no model is linked to hello-world. `%clipper link hello-world MODEL`",
        ),
        (
            "Model sum-model:2 raised KeyError: 'a'",
            "",
            "Default output: sum-model:2 raised KeyError: 'a'. `%clipper logs sum-model --errors`",
        ),
        ("something new", "", "Default output: something new."),
    ],
)
def test_a_default_answer_has_its_reason(
    serving: Shell, monkeypatch: pytest.MonkeyPatch, explanation: str, before: str, reason: str
) -> None:
    serving.run(before)
    answer_with(monkeypatch, 200, {"output": -1.0, "default": True, "default_explanation": explanation})

    assert serving.run("%clipper predict hello-world [1]").reason == reason


def test_a_missed_slo_names_the_latency_of_the_model(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    histogram = {"model:sum-model:2:prediction_latency": {"unit": "micros", "size": "9", "p95": "340000"}}
    monkeypatch.setattr(serving.session.connection, "inspect_instance", lambda: {"histograms": [histogram]})
    missed = {"output": -1.0, "default": True, "default_explanation": queries.MISSED_SLO}
    answer_with(monkeypatch, 200, missed)

    assert serving.run("%clipper predict hello-world [1]").reason == (
        "Default output: no answer within the SLO of 100 ms (p95 of sum-model: 340 ms)."
    )


def test_metrics_in_both_forms(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.session.connection, "inspect_instance", lambda: {"counters": []})
    answer_with(monkeypatch, 200, {})

    assert serving.run("%clipper metrics") == {"counters": []}
    assert serving.run("%clipper metrics --prometheus") == "metric 1"


def test_logs_return_paths_and_show_the_tail(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    paths = serving.run("%clipper logs sum-model:1 -n 1")

    assert paths == ["clipper_logs/sum-model_1-0.log"]
    assert "last line" in said(capsys) and "first line" not in paths.text


def test_logs_of_a_model_are_those_of_its_replicas(serving: Shell) -> None:
    serving.run("%clipper replicas sum-model:2 2;")

    paths = serving.run("%clipper logs sum-model:2")

    assert paths == [f"clipper_logs/sum-model_2-{i}.log" for i in (0, 1)]
    assert "first line\nlast line" in paths.text


def test_equal_tracebacks_are_shown_once(serving: Shell, world: World) -> None:
    error = {"type": "KeyError", "message": "'a'", "traceback": "Traceback\nKeyError: 'a'", "example_input": "[1.0]"}
    times = {"first_time_s": 1.0, "last_time_s": 2.0}
    serving.run("%clipper replicas sum-model 2;")
    world.clusters["default-cluster"].errors = {
        0: [{**error, **times, "count": 3}],
        1: [{**error, **times, "count": 2, "last_time_s": 3.0, "example_input": "[9.0]"}],
    }
    groups = serving.run("%clipper logs sum-model:2 --errors")

    assert [(g["model"], g["count"], g["first_time_s"], g["last_time_s"]) for g in groups] == [
        ("sum-model:2", 5, 1.0, 3.0)
    ]
    assert groups.text.startswith("sum-model:2 · 5 times · last with the input [9.0]\nTraceback")


def test_no_errors_are_good_news(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    assert serving.run("%clipper logs --errors") == []
    assert "No model raised an exception" in said(capsys)


# --- stop, status, doctor, help, language ---


def test_bare_stop_stops_nothing(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    assert serving.run("%clipper stop") is None
    assert "What each form would stop" in said(capsys)
    assert serving.run("%clipper models") == ["sum-model:1", "sum-model:2"]


@pytest.mark.parametrize(
    ("line", "left", "stopped"),
    [
        ("sum-model", [], ["sum-model:1", "sum-model:2"]),
        ("sum-model:1", ["sum-model:2"], ["sum-model:1"]),
        ("--inactive sum-model", ["sum-model:2"], ["sum-model:1"]),
        ("--models", [], ["sum-model:1", "sum-model:2"]),
    ],
)
def test_stop_stops_what_it_names(serving: Shell, line: str, left: list[str], stopped: list[str]) -> None:
    assert serving.run(f"%clipper stop {line}") == stopped
    assert serving.run("%clipper models") == left


def test_stop_all_twice(serving: Shell, world: World, capsys: Capture) -> None:
    said(capsys)
    stopped = serving.run("%clipper stop --all")
    assert "Stopped: 2 replicas, 2 services. Nothing is left." in said(capsys)
    assert (len(stopped), world.clusters) == (4, {})

    assert serving.run("%clipper stop --all") == []
    assert "Nothing to stop." in said(capsys)


@pytest.mark.parametrize(
    ("line", "removed", "sentence"),
    [
        ("--all", [], "2 images kept"),
        ("--all --images", ["default-cluster-sum-model:1", "default-cluster-sum-model:2"], "Nothing is left."),
    ],
)
def test_images_that_outlive_a_cluster_are_told(
    serving: Shell, monkeypatch: pytest.MonkeyPatch, capsys: Capture, line: str, removed: list[str], sentence: str
) -> None:
    here = ["default-cluster-sum-model:1", "default-cluster-sum-model:2"]
    gone: list[str] = []
    manager = type(serving.session.connection.cm)
    monkeypatch.setattr(manager, "list_images", lambda self: [image for image in here if image not in gone])
    monkeypatch.setattr(manager, "remove_image", lambda self, image: gone.append(image))
    said(capsys)
    serving.run(f"%clipper stop {line};")

    assert gone == removed
    assert sentence in said(capsys)
    serving.run("%clipper stop --all --images;")
    assert gone == here
    assert ("Nothing to stop." if removed else "2 images removed.") in said(capsys)


def test_state_that_is_kept_is_told_at_every_step(shell: Shell, capsys: Capture) -> None:
    def told(line: str) -> str:
        shell.run(f"{line};")
        return said(capsys)

    kept = "are kept: `%clipper start --keep-state` takes them up, `%clipper start` forgets them."
    assert "`%clipper stop --all` will keep its applications, models and links." in told("%clipper start --keep-state")
    shell.run("%clipper register hello --input-type doubles --default-output -1.0 --slo 100ms;")
    shell.run("%%clipper_deploy sum-model:1 --input-type doubles --app hello\ndef f(xs): return ['1'] * len(xs)")
    assert kept in told("%clipper stop --all")
    assert kept in told("%clipper stop --all")

    taken_up = "Taken up from the cluster that was stopped: 1 application, 1 model, 1 replica."
    assert taken_up in told("%clipper start --keep-state")
    assert shell.run("%clipper linked hello") == ["sum-model"]
    shell.run("%clipper stop --all;")
    said(capsys)
    assert "What the cluster that was stopped had kept is forgotten" in told("%clipper start")
    assert "was started without `--keep-state`" in told("%clipper start --keep-state")
    assert "Nothing is left." in told("%clipper stop --all")


def test_model_that_does_not_come_back_is_told(
    shell: Shell, world: World, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    shell.run("%clipper start --keep-state;")
    shell.run("%%clipper_deploy sum-model:1 --input-type doubles\ndef f(xs): return [str(sum(x)) for x in xs]")
    shell.run("%clipper stop --all;")
    said(capsys)
    monkeypatch.setattr(world, "death", "ModelLoadError: gone")
    shell.run("%clipper start --keep-state;")

    assert "Version 1 of sum-model has no replica: `%clipper replicas sum-model:1 1` starts one." in said(capsys)


def test_what_only_docker_can_do_is_refused_or_is_so_already(shell: Shell) -> None:
    with pytest.raises(ClipperUsageError, match="--base-image is for the backend") as caught:
        shell.run("%clipper start --base-image python:3.11")

    assert caught.value.code == "docker-only"

    assert shell.run("%clipper start --allow-network")["backend"] == "local"


def test_what_a_crash_left_is_cleared_away(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from magics_world import LocalContainerManager

    from clipper_magic.container_manager import StopReport

    monkeypatch.setattr(LocalContainerManager, "stop_all", lambda self, graceful=True: StopReport(("query-0",)))
    shell.run("%clipper stop --all;")

    assert "No cluster answered; 1 process that it left is stopped." in said(capsys)


@pytest.mark.parametrize(("answer", "left"), [("n", 1), ("", 1), ("yes", 0), ("Y", 0)])
def test_stop_all_asks_if_told_to(
    serving: Shell, world: World, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    serving.session.settings.confirm_stop = True
    monkeypatch.setattr("builtins.input", lambda question: answer)
    serving.run("%clipper stop --all")

    assert len(world.clusters) == left


def test_status_tells_asked_for_and_seen(serving: Shell, world: World) -> None:
    world.clusters["default-cluster"].replicas.pop()  # the one of version 2
    status = serving.run("%clipper status")

    assert status.lines()[1:] == [
        "✓ sum-model:1 · 1 of 1 replica ready",
        "✗ sum-model:2 · current · 0 of 1 replica ready",
    ]


def test_doctor_looks_at_everything(serving: Shell) -> None:
    checks = serving.run("%clipper doctor")

    assert list(checks) == [
        "python", "docker_cli", "docker_engine", "port_1337", "port_1338", "disk", "widgets", "language", "cluster",
    ]  # fmt: skip
    assert checks["python"]["ok"] is True and checks["docker_engine"]["ok"] is None and checks["cluster"]["ok"] is True


def test_clusters_are_chosen_by_name(shell: Shell) -> None:
    shell.run("%clipper start --cluster blue;")
    shell.run("%clipper start --cluster green;")
    shell.run("%clipper register a --input-type ints --default-output 0 --slo 1s;")

    assert shell.run("%clipper apps") == ["a"]
    shell.run("%config Clipper.cluster = 'blue'")
    assert shell.run("%clipper apps") == []
    shell.run("%clipper connect --cluster green;")
    assert shell.run("%clipper apps") == ["a"]


@pytest.mark.parametrize("line", ["%clipper", "%clipper help", "%clipper --help", "%clipper -h"])
def test_help_lists_the_commands(shell: Shell, capsys: Capture, line: str) -> None:
    shell.run(line)
    assert "%%clipper_deploy  deploy the function in this cell" in said(capsys)


@pytest.mark.parametrize("line", ["%clipper link --help", "%clipper help link", "%clipper link a -h"])
def test_help_of_one_command(shell: Shell, capsys: Capture, line: str) -> None:
    shell.run(line)
    assert said(capsys).startswith("%clipper link APP MODEL\nlet a model answer an application\n")


def test_help_of_the_cell_magic(shell: Shell, capsys: Capture) -> None:
    shell.run("%clipper_deploy --help")
    assert said(capsys).startswith("%%clipper_deploy NAME")


def test_lang_changes_the_messages_and_not_the_data(serving: Shell, capsys: Capture) -> None:
    assert serving.run("%clipper lang fr") == "fr"
    assert "Les messages sont désormais en français." in said(capsys)
    info = serving.run("%clipper register hello-world --input-type doubles --default-output -1.0 --slo 100ms")
    assert "rien n’a changé" in said(capsys) and info["input_type"] == "doubles"
    assert serving.run("%clipper lang") == "fr"
    assert serving.run("%clipper lang auto") == "en"


# --- log lines and the display ---


def test_log_lines_are_kept_back(serving: Shell, capsys: Capture) -> None:
    said(capsys)
    serving.run("%clipper replicas sum-model 2;")
    captured = capsys.readouterr()

    assert captured.err == "" and "Found 1 replicas" not in captured.out


def test_verbose_shows_clippers_own_log_lines(serving: Shell, capsys: Capture) -> None:
    serving.run("%config Clipper.verbose = True")
    said(capsys)
    serving.run("%clipper replicas sum-model 2;")

    assert "INFO     [replicas.py:" in capsys.readouterr().err


def test_log_lines_come_back_after_a_command_that_failed(serving: Shell, capsys: Capture) -> None:
    with pytest.raises(Exception, match="No application"):
        serving.run("%clipper app nobody")
    said(capsys)
    logging.getLogger("clipper_magic").info("from the Python API")

    assert "from the Python API" in capsys.readouterr().err


def test_the_source_of_this_package_never_prints_outside_the_display() -> None:
    """Only the terminal's display prints; a command that prints would break stored notebooks."""
    from pathlib import Path

    import clipper_magic

    printing = {
        path.name
        for path in Path(clipper_magic.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert printing <= {"progress.py"}
