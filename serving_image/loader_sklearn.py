"""Loads a method of a fitted scikit-learn model, such as ``model.predict_proba``; needs no scikit-learn by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from serving_image.loader_python import unpickle
from serving_image.model_runner import PredictFunction


def load_function(directory: Path) -> PredictFunction:
    """Return the method in ``func.pkl``, with JSON texts for outputs; a DataFrame gets the columns of the training."""
    method = unpickle(directory / "func.pkl")
    names = getattr(method.__self__, "feature_names_in_", None)
    if names is None:
        return lambda inputs: json_rows(method(inputs))
    # scikit-learn refuses them in another order, and others than these.
    return lambda inputs: json_rows(method(inputs[list(names)] if hasattr(inputs, "columns") else inputs))


def json_rows(outputs: Any) -> list[str]:
    """Return one JSON text for each input.

    Parameters
    ----------
    outputs : array of shape (n,) or (n, k), or list of such arrays
        What a model returns for n inputs; ``predict_proba`` of a model with several targets returns a list with one
        array for each target.

    Returns
    -------
    list of n str
        A number, a label in quotes, or a list of them; nan is null.
    """
    several = isinstance(outputs, list)
    rows = zip(*(array.tolist() for array in outputs), strict=True) if several else outputs.tolist()
    return [msgspec.json.encode(row).decode() for row in rows]
