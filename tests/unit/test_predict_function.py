"""ClipperConnection.test_predict_function: a model function on one query, without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from connection_world import manager
from fakes import FakeManager

from clipper_magic import ClipperConnection

__all__ = ["manager"]


def kinds(xs: Any) -> Any:
    return [type(xs).__name__, *(str(getattr(x, "dtype", type(x).__name__)) for x in xs)]


@pytest.mark.parametrize(
    ("query", "input_type", "expected"),
    [
        ({"input": [1.0, 2.0]}, "doubles", ["ndarray", "float64"]),
        ({"input": [1, 2]}, "doubles", ["ndarray", "float64"]),
        ({"input_batch": [[1.0], [2.0, 3.0]]}, "floats", ["list", "float32", "float32"]),
        ({"input": [1]}, "ints", ["ndarray", "int32"]),
        ({"input": "text"}, "strings", ["list", "str"]),
        ({"input_batch": [b"a", b"b"]}, "bytes", ["list", "bytes", "bytes"]),
        ({"input": list(np.random.default_rng(0).random(3))}, "doubles", ["ndarray", "float64"]),
        ({"input": {"a": 1}}, "json", ["list", "dict"]),
        ({"input_batch": [{}, None, (1, np.int64(2)), "text"]}, "records", ["list", "dict", "NoneType", "list", "str"]),
        ({"input": {"a": float("nan")}}, "json", "Invalid input type"),
        ({"input": b"bytes"}, "json", "Invalid input type"),
        ({"input": [1.5]}, "integers", "Invalid input type"),
        ({"input": [True]}, "integers", "Invalid input type"),
        ({"input": ["a"]}, "doubles", "Invalid input type"),
        ({"input": "text"}, "bytes", "Invalid input type"),
        ({"input": [1.0]}, "vectors", "Invalid input type"),
        ({"input": 1.0}, "doubles", "Invalid input type or JSON key"),
        ({"inputs": [1.0]}, "doubles", "Invalid input type or JSON key"),
        ({"input_batch": 3}, "strings", "Invalid input type or JSON key"),
    ],
)
def test_predict_function(manager: FakeManager, query: dict[str, Any], input_type: str, expected: Any) -> None:
    assert ClipperConnection(manager).test_predict_function(query, kinds, input_type) == expected


def test_predict_function_that_cannot_be_pickled(manager: FakeManager, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as handle:
        result = ClipperConnection(manager).test_predict_function({"input": [1.0]}, lambda xs: [handle], "doubles")
    assert result == "Function does not properly serialize and reload"
