"""What outlives ``stop_all`` by option, and what does not. Each backend's tests provide the fixture ``backend``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract_world import NO_MODEL, Backend, feature_product, output, predict, serve

from clipper_magic import ClipperConnection


@pytest.fixture(autouse=True)
def own_state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a local cluster keeps is in the user's home otherwise."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def connect(backend: Backend, new_cluster_name: Callable[[], str]) -> Iterator[Callable[..., ClipperConnection]]:
    """Return a function that returns connections with one and the same cluster; nothing is left or kept of it."""
    name = new_cluster_name()
    yield lambda **options: ClipperConnection(backend.manager(name, **options))
    ClipperConnection(backend.manager(name)).stop_all(graceful=False)
    forgetful = ClipperConnection(backend.manager(name))
    if forgetful.cm.keeps_state():
        forgetful.start_clipper()
        forgetful.stop_all()
    assert backend.leftovers(name) == []


class StateContract:
    """With ``keep_state`` a stopped cluster is taken up again; without it, it is forgotten."""

    def test_state_is_taken_up(self, connect: Callable[..., ClipperConnection], log: pytest.LogCaptureFixture) -> None:
        first = connect(keep_state=True)
        first.start_clipper()
        assert "stop_all will keep the state" in log.text
        serve(first, "kept")
        first.set_num_replicas("kept", 2)
        first.register_application("alone", "strings", "nobody", 100_000)
        apps, models = first.get_all_apps(verbose=True), first.get_all_models(verbose=True)

        # Another interpreter stops it, and does not know of the option; once more changes nothing.
        other = connect()
        other.stop_all()
        other.stop_all()
        assert "Kept the state in" in log.text
        assert other.cm.keeps_state()

        again = connect(keep_state=True)
        again.start_clipper()
        assert "Taking up the state" in log.text
        assert (again.get_all_apps(verbose=True), again.get_all_models(verbose=True)) == (apps, models)
        assert (again.get_linked_models("kept"), again.get_num_replicas("kept")) == (["kept"], 2)
        assert output(again, "kept", [1.0, 2.0]) == 3.0
        serve(again, "later", feature_product)
        again.stop_all()

        once_more = connect(keep_state=True)
        once_more.start_clipper()
        assert output(once_more, "later", [2.0, 4.0]) == 8.0

    def test_state_is_forgotten(self, connect: Callable[..., ClipperConnection], log: pytest.LogCaptureFixture) -> None:
        first = connect(keep_state=True)
        first.start_clipper()
        first.register_application("forgotten", "doubles", "-1.0", 100_000)
        first.stop_all()

        forgetful = connect()
        forgetful.start_clipper()
        assert "Forgetting the state of an earlier cluster; keep_state=True would take it up" in log.text
        assert not forgetful.cm.keeps_state()
        assert forgetful.get_all_apps() == []
        forgetful.register_application("forgotten-too", "doubles", "-1.0", 100_000)
        forgetful.stop_all()
        assert not forgetful.cm.keeps_state()

        last = connect(keep_state=True)
        last.start_clipper()
        assert last.get_all_apps() == []

    def test_state_survives_a_stop_by_force(self, connect: Callable[..., ClipperConnection]) -> None:
        first = connect(keep_state=True)
        first.start_clipper()
        first.register_application("forced", "doubles", "-1.0", 100_000)
        first.stop_all(graceful=False)

        again = connect(keep_state=True)
        again.start_clipper()
        assert again.get_all_apps() == ["forced"]

    def test_model_whose_image_is_gone_is_told(
        self, connect: Callable[..., ClipperConnection], log: pytest.LogCaptureFixture
    ) -> None:
        first = connect(keep_state=True)
        first.start_clipper()
        serve(first, "bare")
        serve(first, "whole")
        image = first.get_model_info("bare", 1)["container_name"]
        first.cm.remove_image(image)
        first.stop_all()
        first.cm.remove_image(image)  # an engine deletes no image that is in use

        again = connect(keep_state=True)
        again.start_clipper()

        assert "Replicas of bare:1 do not start again" in log.text
        assert predict(again, "bare", [1.0])["default_explanation"] == NO_MODEL
        assert output(again, "whole", [1.0, 2.0]) == 3.0
