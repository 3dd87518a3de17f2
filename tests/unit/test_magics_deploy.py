"""What `%%clipper_deploy`, `endpoint`, `version` and `replicas` do, return and say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from magics_world import Capture, Shell, World, said
from requirements import require_modules

from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import ModelCheckError, ReplicaStartError

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
