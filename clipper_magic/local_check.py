"""Call a model function as a replica would, in the kernel. Pure but for the function itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import cloudpickle
import numpy as np

from clipper_magic.json_inputs import as_json_value
from serving_image.errors import ServingError
from serving_image.input_types import canonical

BAD_KEY = "Invalid input type or JSON key"
BAD_TYPE = "Invalid input type"
BAD_PICKLE = "Function does not properly serialize and reload"

# What the elements of an input must be, exactly; an int is a number for floats and doubles, as on the wire.
ELEMENT_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {"integers": (int,), "floats": (float, int), "doubles": (float, int), "bytes": (bytes,), "strings": (str,)}
)
DTYPES = MappingProxyType({"integers": np.int32, "floats": np.float32, "doubles": np.float64})


def try_predict_function(query: Mapping[str, Any], func: Callable[[Any], Any], input_type: str) -> Any:
    """Return ``func(batch)``, or one of Clipper's three texts; see ``ClipperConnection.test_predict_function``."""
    inputs = _inputs_of(query)
    if inputs is None:
        return BAD_KEY
    try:
        kind = canonical(input_type)
    except ServingError:
        return BAD_TYPE
    if kind == "json":
        return _on_json(inputs, func)
    numeric = kind in DTYPES
    if numeric and not all(isinstance(one, list | tuple | np.ndarray) for one in inputs):
        return BAD_KEY
    elements = [element for one in inputs for element in one] if numeric else inputs
    if not all(type(_plain(element)) in ELEMENT_TYPES[kind] for element in elements):
        return BAD_TYPE
    return _reloaded(func, to_batch(inputs, kind))


def _on_json(inputs: Sequence[Any], func: Callable[[Any], Any]) -> Any:
    try:
        values = [as_json_value(one) for one in inputs]
    except ValueError:
        return BAD_TYPE
    return _reloaded(func, values)


def _reloaded(func: Callable[[Any], Any], batch: Any) -> Any:
    """Return what the function returns after its way through a pickle."""
    try:
        reloaded = cloudpickle.loads(cloudpickle.dumps(func))
    except Exception:  # whatever pickling a user's object raises
        return BAD_PICKLE
    return reloaded(batch)


def to_batch(inputs: Sequence[Any], kind: str) -> Any:
    """Return what a model function receives.

    Parameters
    ----------
    inputs : sequence of n inputs
    kind : str
        Canonical input type.

    Returns
    -------
    numpy array of shape (n, d), a list of n arrays of shape (d_i,) when lengths differ, or a list of str or bytes
    """
    if kind not in DTYPES:
        return list(inputs)
    rows = [np.asarray(one, dtype=DTYPES[kind]) for one in inputs]
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows


def _inputs_of(query: Mapping[str, Any]) -> list[Any] | None:
    if "input" in query:
        return [query["input"]]
    batch = query.get("input_batch")
    return list(batch) if isinstance(batch, list | tuple | np.ndarray) else None


def _plain(element: Any) -> Any:
    return element.item() if isinstance(element, np.generic) else element
