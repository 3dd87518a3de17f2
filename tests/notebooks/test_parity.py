"""The lessons in both languages are one lesson: same code cells, no stale paragraph, French typography."""

import shutil
from pathlib import Path

import nbformat
import pytest

from notebooks import build


def test_nothing_is_out_of_step():
    assert list(build.problems()) == []


def test_code_cells_are_identical():
    for english, _, french in build.lessons():
        assert build.code_of(build.load(french)) == build.code_of(build.load(english))


def test_building_again_changes_nothing():
    for english, text, french in build.lessons():
        before = build.load(french)
        assert build.translate(build.load(english), build.read_french(text)[1], before) == before


def test_every_lesson_exists_in_both_languages():
    numbers = {
        language: sorted(path.name[:2] for path in (build.HERE / language).glob("*.ipynb")) for language in ("en", "fr")
    }
    assert numbers["en"] == numbers["fr"] != []


@pytest.fixture
def lessons_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the lessons that a test may spoil."""
    for language in ("en", "fr"):
        shutil.copytree(build.HERE / language, tmp_path / language)
    monkeypatch.setattr(build, "HERE", tmp_path)
    return tmp_path


def edit(path: Path, cell_id: str, source: str) -> None:
    notebook = build.load(path)
    next(cell for cell in notebook.cells if cell.id == cell_id).source = source
    nbformat.write(notebook, path)


def test_a_changed_english_paragraph_makes_the_french_one_stale(lessons_copy: Path):
    edit(lessons_copy / "en/01-quickstart.ipynb", "start-text", "Start Clipper, now.")
    faults = list(build.problems())
    assert len(faults) == 1
    assert "cell start-text: the English changed since the translation" in faults[0]


def test_a_code_cell_changed_in_french_only_is_found(lessons_copy: Path):
    edit(lessons_copy / "fr/01-demarrage.ipynb", "apps", "clipper_conn.get_all_models()")
    assert list(build.problems()) == ["01-demarrage.ipynb: its code cells differ from 01-quickstart.ipynb"]


def test_a_french_cell_keeps_its_outputs_until_its_code_changes(lessons_copy: Path):
    edit(lessons_copy / "en/01-quickstart.ipynb", "apps", "clipper_conn.get_all_apps(verbose=True)")
    english, french = build.load(lessons_copy / "en/01-quickstart.ipynb"), lessons_copy / "fr/01-demarrage.ipynb"
    _, texts = build.read_french(french.with_suffix(".md"))
    waiting = [
        cell.id
        for cell in build.translate(english, texts, build.load(french)).cells
        if cell.cell_type == "code" and cell.execution_count is None
    ]
    assert waiting == ["apps"]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("Voici\u00a0: « oui ».", 2),
        ("Voici: non", 1),
        ("Voici\u202f: non\u00a0; 10\u00a0% !", 4),
        ("Voici\u00a0: «\u00a0oui\u00a0»", 0),
        ("l'application", 1),
        ("l'*application*", 1),
        ("l’application `x: int` répond\u202f!", 0),
    ],
)
def test_typography(text: str, faults: int):
    assert len(list(build.typography(text))) == faults
