"""Settings: option, %config, environment, file, locale."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipper_magic.config import Clipper, locale_language
from clipper_magic.exceptions import ClipperUsageError
from clipper_magic.messages import catalogue


def settings(tmp_path: Path, file: str = "", **environ: str) -> Clipper:
    if file:
        (tmp_path / "clipper_magic.toml").write_text(file)
    return Clipper(environ={"XDG_CONFIG_HOME": str(tmp_path), **environ})


def test_nothing_set_gives_the_defaults(tmp_path: Path) -> None:
    found = settings(tmp_path)

    assert (found.lang, found.backend, found.cluster, found.verbose) == ("auto", "auto", "default-cluster", False)
    assert (found.refresh, found.language) == (2.0, "en")


def test_the_file_is_read(tmp_path: Path) -> None:
    found = settings(tmp_path, 'lang = "fr"\nverbose = true\nrefresh = 1\n')

    assert (found.language, found.verbose, found.refresh) == ("fr", True, 1.0)


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    found = settings(tmp_path, 'cluster = "file"\nbackend = "docker"\n', CLIPPER_CLUSTER="env")

    assert (found.cluster, found.backend) == ("env", "docker")


def test_what_is_set_is_stronger_than_the_environment(tmp_path: Path) -> None:
    found = settings(tmp_path, CLIPPER_CLUSTER="env", CLIPPER_VERBOSE="1")
    found.cluster = "set"

    assert (found.cluster, found.verbose) == ("set", True)


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    found = settings(tmp_path, "this is no toml")

    with pytest.raises(ClipperUsageError) as caught:
        _ = found.lang
    assert caught.value.code == "bad-settings-file"


@pytest.mark.parametrize(("name", "value"), [("refresh", "quick"), ("verbose", "maybe"), ("timeout", "long")])
def test_a_bad_value_names_its_source(tmp_path: Path, name: str, value: str) -> None:
    found = settings(tmp_path, **{f"CLIPPER_{name.upper()}": value})

    with pytest.raises(ClipperUsageError) as caught:
        getattr(found, name)
    assert caught.value.fields == {"setting": f"CLIPPER_{name.upper()}", "value": value}


def test_a_word_outside_the_choices_is_refused_at_use(tmp_path: Path) -> None:
    found = settings(tmp_path)
    found.lang = "de"  # what %config would only log

    with pytest.raises(ClipperUsageError) as caught:
        _ = found.language
    assert (caught.value.code, caught.value.fields["choices"]) == ("bad-choice", "auto, en, fr")


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "fr_CA", "LANG": "en_US"}, "fr"),
        ({"LANG": "de_DE"}, "en"),
    ],
)
def test_auto_follows_the_locale(tmp_path: Path, environ: dict[str, str], language: str) -> None:
    assert locale_language(environ) == language
    assert settings(tmp_path, **environ).language == language


def test_config_lists_the_choices(tmp_path: Path) -> None:
    text = Clipper.class_get_help(settings(tmp_path))

    for name in ("lang", "backend", "panel"):
        assert all(word in text for word in settings(tmp_path).choices(name))
    assert {"lang", "backend", "cluster", "panel", "refresh", "verbose", "confirm_stop", "timeout"} <= set(
        Clipper.class_trait_names(config=True)
    )


@pytest.mark.parametrize(
    ("lang", "shown"),
    [
        ("en", "Ask before %clipper stop --all."),
        ("fr", "Demande confirmation avant %clipper stop --all."),
        ("de", "Ask before %clipper stop --all."),  # what is wrong with a setting must not hide what it may be
    ],
)
def test_config_tells_in_the_language_of_messages(tmp_path: Path, lang: str, shown: str) -> None:
    assert shown in Clipper.class_get_help(settings(tmp_path, CLIPPER_LANG=lang))


def test_every_setting_has_its_help_and_every_help_its_setting() -> None:
    assert set(catalogue.load("text", "en")["setting"]) == set(Clipper.class_trait_names(config=True))
