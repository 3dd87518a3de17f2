"""Runs a model function on batches: what it receives, what its outputs become, and what its exceptions cost.

An exception costs the inputs that raise it, not their neighbours in the batch, and never the process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import numpy as np

from serving_image.error_log import ErrorLog
from serving_image.errors import ServingError
from serving_image.input_types import WireInput, unpack
from serving_image.protocol import BatchAnswer, output_fragment

log = logging.getLogger(__name__)

PredictFunction: TypeAlias = Callable[[Any], Any]
"""A batch in (see `to_batch`), a sequence of as many outputs out."""

OWN_FOLDER = f"{Path(__file__).parent}{os.sep}"
# A model that always fails must not fill the disk: its first, tenth, hundredth … exception at a place is logged.
LOGGED_COUNTS = frozenset(10**power for power in range(12))
DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {"integers": np.dtype("<i4"), "floats": np.dtype("<f4"), "doubles": np.dtype("<f8")}
)


class WrongOutputError(Exception):
    """The model returned something else than a sequence with one output for each input."""


class ModelRunner:
    """A model function and the log of its exceptions.

    Parameters
    ----------
    predict : callable
        The model function.
    input_type : str
        Canonical: integers, floats, doubles, bytes, strings or json.
    errors : ErrorLog
    """

    def __init__(self, predict: PredictFunction, input_type: str, errors: ErrorLog) -> None:
        self._predict = predict
        self._input_type = input_type
        self._errors = errors

    def run(self, inputs: Sequence[WireInput]) -> BatchAnswer:
        """Answer a batch; if the model raises, answer its inputs one by one.

        Parameters
        ----------
        inputs : sequence of n bytes or str
            As `to_batch` takes them.

        Raises
        ------
        ServingError
            bad-request if the inputs are not of the model's type.
        """
        if not inputs:
            return BatchAnswer([])  # no function need expect an empty batch
        batch = to_batch(inputs, self._input_type)
        try:
            return BatchAnswer(list(self._call(batch, len(inputs))))
        # Even SystemExit and KeyboardInterrupt are the model's: a function that calls exit() must not end the replica.
        except BaseException as exc:
            if len(inputs) == 1 or isinstance(exc, WrongOutputError):
                error = self._record(exc, inputs)
                return BatchAnswer([None] * len(inputs), dict.fromkeys(range(len(inputs)), error))
            exc.__traceback__ = None
        singles = [self.run([value]) for value in inputs]
        return BatchAnswer(
            [single.outputs[0] for single in singles],
            {index: single.errors[0] for index, single in enumerate(singles) if single.errors},
        )

    def call(self, inputs: Sequence[WireInput]) -> list[bytes]:
        """Call the model function once; return one JSON fragment for each input.

        Raises
        ------
        WrongOutputError
            If the outputs are not a sequence as long as the inputs.
        BaseException
            Whatever the function raises.
        """
        return self._call(to_batch(inputs, self._input_type), len(inputs))

    def _call(self, batch: Any, count: int) -> list[bytes]:
        with outside_event_loop():
            return [output_fragment(output) for output in check_outputs(self._predict(batch), count)]

    def _record(self, exc: BaseException, inputs: Sequence[WireInput]) -> tuple[str, str]:
        """Log what ``inputs`` raised; return its type and message."""
        exc.__traceback__ = model_frames(exc)
        # People read vectors as lists, and one input without the brackets of a batch.
        shown = [unpack(self._input_type, value) for value in inputs]
        group = self._errors.add(exc, shown if len(shown) > 1 else shown[0], time.time())
        if group.count in LOGGED_COUNTS:
            log.error("model exception, seen %d times:\n%s", group.count, group.traceback.rstrip())
        # Free the frames, and with them the inputs. A model that raises one object again would also add to them.
        exc.__traceback__ = None
        return group.type, group.message


def model_frames(exc: BaseException) -> Any:
    """Return the traceback of ``exc`` without the frames of this package that it starts with."""
    frames = exc.__traceback__
    while frames and frames.tb_next and frames.tb_frame.f_code.co_filename.startswith(OWN_FOLDER):
        frames = frames.tb_next
    return frames


def to_batch(inputs: Sequence[WireInput], input_type: str) -> Any:
    """Return what the model function receives for ``inputs``.

    Parameters
    ----------
    inputs : sequence of n bytes or str
        Of numbers: the little-endian vector, packed.

    Returns
    -------
    numpy.ndarray of shape (n, d), or list of n numpy arrays of shape (d_i,), or list of bytes or str
        Numbers make one C-contiguous, writable array if all inputs have one length. JSON is still in bytes, which
        `serving_image.json_models` reads.

    Raises
    ------
    ServingError
        bad-request if an input has not the form of its type.
    """
    wire_type = str if input_type == "strings" else bytes
    if not all(isinstance(value, wire_type) for value in inputs):
        raise ServingError("bad-request", f"inputs of type {input_type} travel as {wire_type.__name__}")
    dtype = DTYPES.get(input_type)
    if dtype is None:
        return list(inputs)
    vectors = cast("Sequence[bytes]", inputs)
    lengths = {len(vector) for vector in vectors}
    if any(length % dtype.itemsize for length in lengths):
        raise ServingError("bad-request", f"an input of type {input_type} is no packed vector")
    if len(lengths) > 1:
        return [np.frombuffer(bytearray(vector), dtype) for vector in vectors]
    columns = lengths.pop() // dtype.itemsize
    return np.frombuffer(bytearray().join(vectors), dtype).reshape(len(vectors), columns)


def neutral_inputs(input_type: str, count: int) -> list[WireInput]:
    """Return ``count`` inputs that most models accept: one zero, no bytes, an empty string, an empty record."""
    if input_type == "strings":
        return [""] * count
    if input_type == "json":
        return [b"{}"] * count
    size = DTYPES[input_type].itemsize if input_type in DTYPES else 0
    return [bytes(size)] * count


def check_outputs(outputs: Any, count: int) -> list[Any]:
    """Return ``outputs`` as a list of ``count``; an iterable of another kind than a text or a mapping will do."""
    if isinstance(outputs, str | bytes | dict) or not hasattr(outputs, "__iter__"):
        raise WrongOutputError(f"Expected model to return a list of {count} outputs, found {type(outputs).__name__}")
    values = list(outputs)
    if len(values) != count:
        raise WrongOutputError(f"Expected model to return {count} outputs, found {len(values)} outputs")
    return values


@contextmanager
def outside_event_loop() -> Iterator[None]:
    """Hide the running event loop, so that a model function may call ``asyncio.run``."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
