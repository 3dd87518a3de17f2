"""Loads a Python function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle

from serving_image.model_runner import PredictFunction


def load_function(directory: Path) -> PredictFunction:
    """Return the function that cloudpickle wrote to ``func.pkl``."""
    predict: PredictFunction = unpickle(directory / "func.pkl")
    return predict


def unpickle(path: Path) -> Any:
    """Return what cloudpickle wrote to a file."""
    with path.open("rb") as file:
        return cloudpickle.load(file)
