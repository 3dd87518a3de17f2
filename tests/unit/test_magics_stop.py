"""What `%clipper stop` stops, what it keeps, and what it says of both."""

from __future__ import annotations

import pytest
from magics_world import Capture, Shell, World, said

from clipper_magic.exceptions import ClipperUsageError

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
