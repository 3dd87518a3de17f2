"""Each command returns what the Python API returns, and says what happened."""

from __future__ import annotations

import ast
import logging

import pytest
from magics_world import Capture, LocalContainerManager, Shell, World, said


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


ALREADY = "default-cluster is already running: connected. 0 applications, 0 models, 0 replicas."
KEEPS = "default-cluster keeps the settings that it was started with: "


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", None),
        ("--query-port 1337 --management-port 1338 --http-threads 4", None),
        ("--query-port 2000", "`--query-port` changes nothing."),
        ("--management-port 2000 --frontends 2", "`--management-port`, `--frontends` change nothing."),
        ("--cache-size 0", "`--cache-size` changes nothing."),
        ("--base-image other --backend local", "`--base-image` changes nothing."),
        ("--allow-network", "`--allow-network` changes nothing."),
    ],
)
def test_what_a_running_cluster_cannot_become_is_said(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: Capture, options: str, told: str | None
) -> None:
    monkeypatch.setattr(LocalContainerManager, "allows_network", lambda _: False)
    shell.run("%clipper start;")
    said(capsys)
    shell.run(f"%clipper start {options};")

    assert said(capsys).splitlines() == [ALREADY, *([KEEPS + told] if told else [])]


def test_a_network_that_models_have_is_not_talked_about(shell: Shell, capsys: Capture) -> None:
    shell.run("%clipper start;")
    said(capsys)
    shell.run("%clipper start --allow-network;")

    assert said(capsys).splitlines() == [ALREADY]


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
