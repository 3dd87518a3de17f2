"""Writes model directories as the deployer does, from source that stands for a notebook cell."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cloudpickle

CELL = "/tmp/ipykernel_7/cell.py"  # the name that a kernel gives to a cell; no such file exists


def write_model(directory: Path, source: str, **description: Any) -> Path:
    """Write the function ``predict`` of ``source`` (or whatever that name is) to ``directory``."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, CELL, "exec"), namespace)
    directory.mkdir(exist_ok=True)
    (directory / "func.pkl").write_bytes(cloudpickle.dumps(namespace["predict"]))
    defaults = {
        "format": 1,
        "name": "sum-model",
        "version": "1",
        "input_type": "doubles",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "example": None,
        "loader": "python",
        "sources": {CELL: source},
        "packages": [],
    }
    (directory / "model.json").write_text(json.dumps(defaults | description))
    return directory


SUM = "def predict(xs):\n    return [str(sum(x)) for x in xs]\n"
