"""Models of input type ``json``: the values or the DataFrame that they get, and what their outputs become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from serving_image.model_runner import PredictFunction, check_outputs

_read = msgspec.json.Decoder().decode


def from_wire(predict: PredictFunction) -> PredictFunction:
    """Return ``predict`` for inputs as they come over the wire.

    Parameters
    ----------
    predict : callable
        Takes a list of n JSON values, returns n outputs.

    Returns
    -------
    callable
        Takes a list of n JSON texts (bytes), returns n outputs in the form of `as_json`.
    """

    def call(texts: Sequence[bytes]) -> list[Any]:
        # Read in here, so that a text that cannot be read (nested too deeply) costs its own query and no other.
        outputs = predict([_read(text) for text in texts])
        return [as_json(output) for output in check_outputs(outputs, len(texts))]

    return call


def as_json(output: Any) -> Any:
    """Return an output as JSON text, if Clipper's rule (``str``) would make something else of it.

    Texts and numbers stay as they are; a dict, a list, None or a numpy array becomes JSON, nan inside them null.
    """
    if isinstance(output, str | int | float) and not isinstance(output, bool):
        return output
    return msgspec.json.encode(output, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    """Return what JSON can hold for a value that is not Python's own: numpy's as numbers and lists, others as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
