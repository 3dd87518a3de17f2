"""Loads an ONNX model into onnxruntime, and the function that is called with its session."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import onnxruntime

from serving_image.loader_python import unpickle
from serving_image.model_runner import PredictFunction

MODEL_FILE = "model.onnx"
PROVIDERS = ("CPUExecutionProvider",)


def load_function(directory: Path) -> PredictFunction:
    """Return ``func(session, ·)`` for the function in ``func.pkl`` and the model in ``model.onnx``."""
    session = onnxruntime.InferenceSession(directory / MODEL_FILE, providers=PROVIDERS)
    return partial(unpickle(directory / "func.pkl"), session)
