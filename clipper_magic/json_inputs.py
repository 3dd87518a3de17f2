"""Python values as the JSON that a client would send. Pure."""

from __future__ import annotations

import json
from typing import Any


def as_json_value(value: Any) -> Any:
    """Return a value as a model gets it after its way through JSON: tuples are lists, numpy's numbers are Python's.

    Raises
    ------
    ValueError
        If JSON has nothing for it: nan, infinity, bytes, objects.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_plain))
    except (TypeError, RecursionError) as err:
        raise ValueError(str(err)) from err


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")
