"""Loads a PyTorch module, and the function that is called with it.

``weights.pt`` holds the module's parameters and buffers by name, as ``torch.save`` writes a state dictionary;
``module.pkl`` holds everything else, and refers to them by name.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from serving_image.loader_python import unpickle
from serving_image.model_runner import PredictFunction

MODULE_FILE = "module.pkl"
WEIGHTS_FILE = "weights.pt"


class ModuleUnpickler(pickle.Unpickler):
    """Reads a module whose tensors are elsewhere.

    Parameters
    ----------
    file : binary file
    tensors : mapping of str to torch.Tensor
        Parameters and buffers by name.
    """

    def __init__(self, file: IO[bytes], tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors

    def persistent_load(self, name: str) -> torch.Tensor:
        """Return the tensor of a name; a shared one is the same object everywhere."""
        return self._tensors[name]


def load_function(directory: Path) -> PredictFunction:
    """Return ``func(module, ·)`` for the function in ``func.pkl``: evaluation mode, no gradients."""
    # On the CPU, wherever it was trained.
    tensors = torch.load(directory / WEIGHTS_FILE, map_location="cpu", weights_only=True)
    with (directory / MODULE_FILE).open("rb") as file:
        module = ModuleUnpickler(file, tensors).load()
    module.eval()
    func = unpickle(directory / "func.pkl")

    def predict(inputs: Any) -> Any:
        with torch.no_grad():
            return func(module, inputs)

    return predict
