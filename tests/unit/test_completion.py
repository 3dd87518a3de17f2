"""Tab in %clipper: commands, options, names; also after ``x = ``, and never a keyword of Python's."""

from __future__ import annotations

import keyword
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from magics_world import Shell

from clipper_magic import completion
from clipper_magic.commands import REGISTRY

STATUS = {
    "applications": [{"name": "hello-world"}, {"name": "iris"}],
    "models": [
        {"model_name": "sum-model", "versions": [{"model_version": "1"}, {"model_version": "2"}]},
        {"model_name": "sk-iris", "versions": [{"model_version": "1"}]},
    ],
}


@pytest.fixture
def live(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(completion.LiveNames, "_status", lambda self: STATUS)
    shell.run("def feature_sum(xs): return xs")
    return shell


def complete(shell: Shell, text: str) -> list[str]:
    """Return what a front-end would offer for the word before the cursor."""
    with provisionalcompleter():
        return [found.text for found in shell.ip.Completer.completions(text, len(text))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%clipper st", ["start", "status", "stop"]),
        ("%clipper rep", ["replicas", "replica"]),
        ("apps = %clipper ap", ["apps", "app"]),
        ("  x = %clipper app ", ["hello-world", "iris"]),
        ("%clipper app he", ["hello-world"]),
        ("%clipper link hello-world s", ["sum-model", "sk-iris"]),
        ("%clipper version sum-model ", ["1", "2"]),
        ("%clipper replicas sum-model", ["sum-model", "sum-model:1", "sum-model:2"]),
        ("%clipper replicas sum-model:", ["sum-model:1", "sum-model:2"]),
        ("%clipper register a --inp", ["--input-type"]),
        ("%clipper register a --input-type d", ["doubles"]),
        ("%clipper start --backend ", ["auto", "docker", "local"]),
        ("%clipper start --backend local --clu", ["--cluster"]),
        ("%clipper addr ", ["query", "metric", "admin"]),
        ("%clipper lang ", ["auto", "en", "fr"]),
        ("%clipper help rol", ["rollback"]),
        ("%clipper deploy m --func feat", ["feature_sum"]),
        ("%clipper stop sum-model:1 sum-model:", ["sum-model:1", "sum-model:2"]),
        ("%%clipper_deploy sum-model --inp", ["--input-type"]),
        ("%%clipper_deploy sk", ["sk-iris", "sk-iris:1"]),
        ("%%clipper_deploy sk-iris --app ", ["hello-world", "iris"]),
    ],
)
def test_words_on_offer(live: Shell, text: str, words: list[str]) -> None:
    found = complete(live, text)

    assert found == words
    assert not set(found) & set(keyword.kwlist)


def test_an_option_is_offered_once(live: Shell) -> None:
    found = complete(live, "%clipper register a --slo 1s --")

    assert "--slo" not in found and "--slo-micros" in found and "--help" in found


def test_every_command_is_on_offer(live: Shell) -> None:
    assert complete(live, "%clipper ") == [name for name, command in REGISTRY.items() if command.is_line]


def test_other_lines_are_left_to_python(live: Shell) -> None:
    live.run("clipper_value = 1")

    assert "clipper_value" in complete(live, "clipper_va")
    assert complete(live, "%%clipper_deploy m\nfeature_s") == ["feature_sum"]


def test_names_of_a_real_state(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The management app answers what the completer reads."""
    asked: list[Any] = []

    def status(names: Any) -> dict[str, Any]:
        asked.append(names)
        found: dict[str, Any] = serving.session.connection._admin.ask("get_status")
        return found

    monkeypatch.setattr(completion.LiveNames, "_status", status)

    assert complete(serving, "%clipper replicas ") == ["sum-model", "sum-model:1", "sum-model:2"]
    assert complete(serving, "%clipper app ") == ["hello-world"]
    assert complete(serving, "%clipper version sum-model ") == ["1", "2"]
    assert asked


def test_nobody_answering_offers_nothing_and_raises_nothing(serving: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.session.connection.cm, "get_admin_addr", lambda: "127.0.0.1:1")

    assert complete(serving, "%clipper app ") == ["--output", "--help"]


@pytest.mark.parametrize("settings", ["cluster = '../elsewhere'", "backend = 'no-such'", "no TOML", ""])
def test_no_cluster_to_be_found_offers_nothing_and_raises_nothing(shell: Shell, tmp_path: Path, settings: str) -> None:
    (tmp_path / "clipper_magic.toml").write_text(settings)

    assert completion.LiveNames(shell.session)("app", []) == []


def test_suggest_is_pure() -> None:
    def names(what: str, words: Sequence[str]) -> Sequence[str]:
        return {"app": ["a1", "a2"]}.get(what, [])

    assert completion.suggest("app a", REGISTRY, names) == ("a", ["a1", "a2"])
    assert completion.suggest("", REGISTRY, names)[0] == ""
