"""Loading a model directory: where imports and source lines are found, and what makes a model unfit to serve."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from model_directories import CELL, SUM, write_model

from serving_image.error_log import ErrorLog
from serving_image.model_loader import IMPORT_ERROR, ModelLoadError, load_model
from serving_image.model_runner import ModelRunner, neutral_inputs


@pytest.fixture(autouse=True)
def module_path() -> Iterator[None]:
    """Undo what a model adds to the module path."""
    before, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(directory: Path, input_type: str = "doubles", errors: ErrorLog | None = None) -> ModelRunner:
    return load_model(directory, input_type, errors or ErrorLog())


def test_a_function_is_loaded_and_answers(tmp_path: Path) -> None:
    runner = load(write_model(tmp_path, SUM, example=[1.1, 2.2]))
    assert runner.call(neutral_inputs("doubles", 2)) == [b"0.0", b"0.0"]


@pytest.mark.parametrize(
    ("input_type", "example"),
    [("integers", [1]), ("floats", [1, 2.5]), ("doubles", []), ("bytes", "AP8="), ("strings", "é"), ("json", {"a": 1})],
)
def test_an_example_of_each_input_type_is_tried_as_a_batch_of_two(
    tmp_path: Path, input_type: str, example: Any
) -> None:
    source = "def predict(xs):\n    assert len(xs) == 2, xs\n    return [len(x) for x in xs]\n"
    directory = write_model(tmp_path, source, input_type=input_type, example=example)
    assert isinstance(load(directory, input_type), ModelRunner)


@pytest.mark.parametrize("input_type", ["integers", "floats", "doubles", "bytes", "strings", "json"])
def test_neutral_inputs_of_each_type_are_tried_without_an_example(tmp_path: Path, input_type: str) -> None:
    source = "def predict(xs):\n    return [len(x) for x in xs]\n"
    assert isinstance(load(write_model(tmp_path, source, input_type=input_type), input_type), ModelRunner)


def test_a_model_may_refuse_neutral_inputs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    errors = ErrorLog()
    load(write_model(tmp_path, "def predict(xs):\n    return [x[3] for x in xs]\n"), errors=errors)
    assert "the model refused a neutral input, which may be right (IndexError" in caplog.text
    assert errors.groups() == []  # nobody's query failed


def test_modules_and_packages_of_the_model_are_imported(tmp_path: Path) -> None:
    for folder, name in (("modules", "local_rules"), ("packages", "bought_rules")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"{name}.py").write_text("FACTOR = 3\n")
    source = (
        "def predict(xs):\n    import local_rules, bought_rules\n"
        "    return [local_rules.FACTOR * bought_rules.FACTOR for x in xs]\n"
    )
    assert load(write_model(tmp_path, source)).call(neutral_inputs("doubles", 1)) == [b"9"]


def test_a_module_of_the_model_wins_over_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("environment", "model/packages", "model/modules"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "rules.py").write_text(f"NAME = {folder!r}\n")
    monkeypatch.syspath_prepend(tmp_path / "environment")
    source = "def predict(xs):\n    import rules\n    return [rules.NAME for x in xs]\n"
    runner = load(write_model(tmp_path / "model", source))
    assert runner.call(neutral_inputs("doubles", 1)) == [b'"model/modules"']


def test_a_traceback_shows_the_lines_of_the_notebook_cell(tmp_path: Path) -> None:
    errors = ErrorLog()
    source = "def predict(xs):\n    return [x[3] for x in xs]  # the fourth\n"
    load(write_model(tmp_path, source), errors=errors).run(neutral_inputs("doubles", 1))
    (group,) = errors.groups()
    assert f'File "{CELL}", line 2, in predict' in group.traceback
    assert "return [x[3] for x in xs]  # the fourth" in group.traceback


RAISES = "def predict(xs):\n    raise ValueError('too\\n  hot')\n"
CLASS_THAT_FAILS_TO_LOAD = (
    "class Thing:\n    def __reduce__(self):\n        return (eval, ({!r},))\npredict = Thing()\n"
)
IMPORTS_NOTHING = "__import__('no_such_module')"
WRONG_OUTPUT = "trying the model raised WrongOutputError"
UNFIT: list[tuple[str, str, dict[str, Any], str]] = [
    ("example raises", RAISES, {"example": [1.0]}, "trying the model with its example raised ValueError: too hot"),
    (
        "example of another type",
        SUM,
        {"example": "text"},
        "the example is not of type doubles: Expected `array`, got `str`",
    ),
    (
        "too few outputs",
        "def predict(xs):\n    return [1]\n",
        {},
        f"{WRONG_OUTPUT}: Expected model to return 2 outputs, found 1 outputs",
    ),
    (
        "no list",
        "def predict(xs):\n    return 1\n",
        {},
        f"{WRONG_OUTPUT}: Expected model to return a list of 2 outputs, found int",
    ),
    (
        "import in the function",
        "def predict(xs):\n    import no_such_module\n",
        {},
        f"{IMPORT_ERROR} (ModuleNotFoundError: No module named 'no_such_module')",
    ),
    (
        "import while loading",
        CLASS_THAT_FAILS_TO_LOAD.format(IMPORTS_NOTHING),
        {},
        f"{IMPORT_ERROR} (ModuleNotFoundError: No module named 'no_such_module')",
    ),
    ("exit while loading", CLASS_THAT_FAILS_TO_LOAD.format("exit(0)"), {}, "loading the model raised SystemExit: 0"),
    (
        "exit while trying",
        "def predict(xs):\n    exit(0)\n",
        {"example": [1.0]},
        "trying the model with its example raised SystemExit: 0",
    ),
    ("no function", "predict = [1, 2]\n", {}, "the model is not a function but list"),
    ("another input type", SUM, {"input_type": "strings"}, "the model takes strings, but is registered with doubles"),
    (
        "another Python",
        SUM,
        {"python": "2.7"},
        "the model was saved with Python 2.7, but this replica runs Python {python}: "
        "deploy it from Python {python}, or serve it from an image with Python 2.7",
    ),
    ("another format", SUM, {"format": 2}, "{directory}/model.json has format 2, expected 1: deploy the model again"),
    (
        "unknown loader",
        SUM,
        {"loader": "cobol"},
        "no loader named 'cobol', expected one of: python, pytorch, onnx, sklearn",
    ),
    ("no name", SUM, {"name": None}, "cannot read {directory}/model.json: Expected `str`, got `null` - at `$.name`"),
]


@pytest.mark.parametrize(("source", "description", "cause"), [row[1:] for row in UNFIT], ids=[row[0] for row in UNFIT])
def test_an_unfit_model_is_refused_in_one_line(
    tmp_path: Path, source: str, description: dict[str, Any], cause: str
) -> None:
    directory = write_model(tmp_path, source, **description)
    with pytest.raises(ModelLoadError) as refused:
        load(directory)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    expected = cause.replace("{python}", python).replace("{directory}", str(directory))
    assert str(refused.value) == expected


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"cannot read .*model\.json.*No such file"):
        load(tmp_path)
    (write_model(tmp_path, SUM) / "func.pkl").unlink()
    with pytest.raises(ModelLoadError, match=r"loading the model raised FileNotFoundError"):
        load(tmp_path)
