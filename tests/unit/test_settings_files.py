"""Where settings come from: ``clipper_magic.toml`` in the folder and in the user's configuration, and their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipper_magic.config import Clipper
from clipper_magic.exceptions import ClipperUsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the notebook is in."""
    path = tmp_path / "lessons"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose user has an empty configuration folder."""
    (tmp_path / "config").mkdir()
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "LANG": "en_GB.UTF-8"}


def write(folder: Path, text: str) -> None:
    (folder / "clipper_magic.toml").write_text(text, encoding="utf-8")


def test_the_folders_file_sets_the_language(folder: Path, environ: dict[str, str]):
    write(folder, 'lang = "fr"')
    assert Clipper(environ).language == "fr"


def test_without_any_file_the_locale_decides(folder: Path, environ: dict[str, str]):
    assert Clipper(environ).language == "en"
    assert Clipper({**environ, "LANG": "fr_CA.UTF-8"}).language == "fr"


def test_the_folder_is_stronger_than_the_user_who_fills_in_what_it_leaves_out(folder: Path, environ: dict[str, str]):
    write(folder, 'lang = "fr"')
    write(Path(environ["XDG_CONFIG_HOME"]), 'lang = "en"\ncluster = "mine"')
    settings = Clipper(environ)
    assert (settings.language, settings.cluster) == ("fr", "mine")


def test_the_environment_is_stronger_than_the_folder_and_config_than_both(folder: Path, environ: dict[str, str]):
    write(folder, 'lang = "fr"')
    settings = Clipper({**environ, "CLIPPER_LANG": "en"})
    assert settings.language == "en"
    settings.lang = "fr"
    assert settings.language == "fr"


def test_a_value_that_cannot_be_is_refused_with_its_place(folder: Path, environ: dict[str, str]):
    write(folder, 'refresh = "often"')
    with pytest.raises(ClipperUsageError, match=r"clipper_magic\.toml: refresh cannot be 'often'"):
        _ = Clipper(environ).refresh


def test_a_file_that_is_not_toml_is_named(folder: Path, environ: dict[str, str]):
    write(folder, "lang = fr")
    with pytest.raises(ClipperUsageError, match=r"clipper_magic\.toml cannot be read"):
        _ = Clipper(environ).lang


def test_a_folder_that_was_deleted_holds_no_settings(folder: Path, environ: dict[str, str]):
    folder.rmdir()
    assert Clipper(environ).language == "en"
