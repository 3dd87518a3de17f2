"""What people type as an input: one input, or a list of inputs, by the application's input type. No I/O."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from clipper_magic.commands.kinds import TypedValue
from serving_image.input_types import TYPE_CODES


def inputs_of(typed: TypedValue, input_type: str) -> tuple[str, Any]:
    """Return Clipper's key, "input" or "input_batch", and the value that belongs to it.

    Parameters
    ----------
    typed : TypedValue
    input_type : str
        Canonical. A vector of numbers is one input, and a list of vectors is a batch; a text is one input, and a
        list of texts is a batch; so is a list of JSON values.
    """
    if input_type == "json":
        value = typed.read_json()
        return ("input_batch" if isinstance(value, list) else "input"), value
    numeric = input_type in TYPE_CODES
    value = typed.read(textual=not numeric)
    batch = isinstance(value, list) and (bool(value) and isinstance(value[0], list) if numeric else True)
    return ("input_batch" if batch else "input"), value


def as_function_gets_it(value: Any, input_type: str) -> Any:
    """Return a value of the line as a model function gets it: bytes come in base64, as over REST."""
    if input_type != "bytes":
        return value
    if isinstance(value, list):
        return [as_function_gets_it(one, input_type) for one in value]
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return value  # the check that follows says what it is not
