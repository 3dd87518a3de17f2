"""Models of input type json: what they receive, what their outputs become, what one bad input costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_directories import write_model

from serving_image.error_log import ErrorLog
from serving_image.input_types import pack_all
from serving_image.json_models import as_json
from serving_image.model_loader import load_model
from serving_image.protocol import output_fragment

KINDS = "def predict(xs):\n    return [type(x).__name__ for x in xs]\n"


def answers(directory: Path, source: str, inputs: list[Any], **description: Any) -> list[bytes]:
    write_model(directory, source, input_type="json", **description)
    return load_model(directory, "json", ErrorLog()).call(pack_all("json", inputs))


def test_a_function_gets_python_values(tmp_path: Path) -> None:
    values = [{"a": [1]}, [1, 2], "text", 3, 2.5, True, None]
    kinds = [b'"dict"', b'"list"', b'"str"', b'"int"', b'"float"', b'"bool"', b'"NoneType"']
    assert answers(tmp_path, KINDS, values) == kinds


@pytest.mark.parametrize(
    ("output", "fragment"),
    [
        ({"label": "cat", "p": 0.5}, b'{"label":"cat","p":0.5}'),
        ([1, None, True], b"[1,null,true]"),
        ((749, 600), b"[749,600]"),
        (None, b"null"),
        (True, b"true"),
        (np.bool_(True), b"true"),
        (np.int64(7), b"7"),
        (np.float32(0.5), b"0.5"),
        (np.array([[1.5], [2.0]]), b"[[1.5],[2.0]]"),
        ({"scores": np.array([0.25, float("nan")])}, b'{"scores":[0.25,null]}'),
        ("6.6", b"6.6"),  # Clipper's rule for texts and numbers
        ("DEFAULT", b'"DEFAULT"'),
        (6.6, b"6.6"),
        (float("nan"), b'"nan"'),
        ({"path": Path("a/b")}, b'{"path":"a/b"}'),
    ],
)
def test_an_output_becomes_json(output: Any, fragment: bytes) -> None:
    assert output_fragment(as_json(output)) == fragment


def test_an_input_that_cannot_be_read_costs_no_other_its_answer(tmp_path: Path) -> None:
    """One that is nested as deeply as the frontend still took it."""
    runner = load_model(write_model(tmp_path, KINDS, input_type="json"), "json", ErrorLog())
    deep = b"[" * 100_000 + b"]" * 100_000
    answer = runner.run([b"{}", deep, b"[]"])
    assert answer.outputs == [b'"dict"', None, b'"list"']
    assert answer.errors[1][0] == "RecursionError"


def test_a_traceback_begins_in_the_models_own_code(tmp_path: Path) -> None:
    errors = ErrorLog()
    source = "def predict(xs):\n    return [x['missing'] for x in xs]\n"
    load_model(write_model(tmp_path, source, input_type="json"), "json", errors).run([b"{}"])
    (group,) = errors.groups()
    assert "json_models" not in group.traceback
    assert "return [x['missing'] for x in xs]" in group.traceback
    assert group.example_input == "'{}'"
