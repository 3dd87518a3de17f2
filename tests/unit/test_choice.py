"""Which container manager, and which cluster: arguments first, then the environment, then Clipper's own names."""

from __future__ import annotations

import pytest

from clipper_magic import LocalContainerManager, choose_container_manager
from clipper_magic.exceptions import InvalidArgumentError


@pytest.fixture(autouse=True)
def local_backend(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLIPPER_BACKEND", "local")
    monkeypatch.delenv("CLIPPER_CLUSTER", raising=False)


def test_the_environment_names_the_backend():
    assert isinstance(choose_container_manager(), LocalContainerManager)


def test_without_a_word_the_cluster_is_clippers_default():
    assert choose_container_manager().cluster_name == "default-cluster"


def test_the_environment_names_the_cluster_and_an_argument_is_stronger(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLIPPER_CLUSTER", "mine")
    assert choose_container_manager().cluster_name == "mine"
    assert choose_container_manager(cluster_name="other").cluster_name == "other"


def test_an_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLIPPER_BACKEND", "cloud")
    with pytest.raises(InvalidArgumentError, match="'cloud'"):
        choose_container_manager()
