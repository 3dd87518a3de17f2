"""The input types, Clipper's five and ``json``: names, what JSON they accept, how one input travels to a replica.

Numbers travel as one packed little-endian vector per input (int32, float32 or float64), bytes as they are, strings
as text, JSON values as canonical JSON: sorted keys, no spaces. That form is also what the prediction cache is keyed by.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from serving_image.errors import ServingError

WireInput = bytes | str

LENGTHS_KEPT = 128  # lengths of vectors for which the code that packs them is kept, for each application
ORDER = "" if sys.byteorder == "little" else "<"  # little-endian; the native order is packed faster

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
FLOAT32_MAX = 3.4028234663852886e38

# What each type accepts in JSON, for one input. Decoding with these types is the validation: NaN and Infinity are not
# JSON, a number beyond a double is refused, ``[1, 2]`` is accepted for floats and doubles.
JSON_TYPES: Mapping[str, Any] = MappingProxyType(
    {
        "integers": list[Annotated[int, Meta(ge=INT32_MIN, le=INT32_MAX)]],
        "floats": list[Annotated[float, Meta(ge=-FLOAT32_MAX, le=FLOAT32_MAX)]],
        "doubles": list[float],
        "bytes": bytes,  # base64 in JSON
        "strings": str,
        "json": Any,
    }
)
INPUT_TYPES = tuple(JSON_TYPES)

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        alias: name
        for name, aliases in {
            "integers": "integers ints integer int i",
            "floats": "floats float f",
            "doubles": "doubles double d",
            "bytes": "bytes byte b",
            "strings": "strings string str strs s",
            "json": "json record records",
        }.items()
        for alias in aliases.split()
    }
)
INPUT_TYPE_NAMES = tuple(_ALIASES)

# Type codes of the numeric types, for struct and array; 4, 4 and 8 bytes an element wherever CPython runs.
TYPE_CODES: Mapping[str, str] = MappingProxyType({"integers": "i", "floats": "f", "doubles": "d"})


def canonical(name: str) -> str:
    """Return the stored name of an input type: ``"double"`` and ``"d"`` give ``"doubles"``.

    Raises
    ------
    ServingError
        ``bad-input-type`` if no input type has this name.
    """
    try:
        return _ALIASES[name]
    except (KeyError, TypeError):
        known = ", ".join(INPUT_TYPES)
        raise ServingError("bad-input-type", f"Invalid input type '{name}'. Known: {known}") from None


def packer(input_type: str) -> Callable[[Any], WireInput]:
    """Return the function that turns one decoded JSON input of a canonical type into its wire form."""
    if input_type == "json":
        return _canonical_json
    code = TYPE_CODES.get(input_type)
    if code is None:
        return _as_it_is

    # Not array(code, values), which converts each element the long way: five times as slow for 1,000 doubles.
    @lru_cache(maxsize=LENGTHS_KEPT)
    def pack_of(length: int) -> Callable[..., bytes]:
        return Struct(f"{ORDER}{length}{code}").pack

    return lambda values: pack_of(len(values))(*values)


def unpack(input_type: str, wire: WireInput) -> list[int] | list[float] | bytes | str:
    """Return one wire input as people read it: a list of numbers, ``bytes`` or ``str``; JSON stays text.

    Raises
    ------
    ServingError
        ``bad-request`` if a numeric vector is no whole number of elements.
    """
    if input_type == "json":
        return cast(bytes, wire).decode(errors="replace")
    code = TYPE_CODES.get(input_type)
    if code is None:
        return wire
    values: array[Any] = array(code)
    try:
        values.frombytes(cast(bytes, wire))
    except (TypeError, ValueError):
        raise ServingError("bad-request", f"an input of type {input_type} is no packed vector") from None
    return (_swapped(values) if sys.byteorder == "big" else values).tolist()


def pack_all(input_type: str, inputs: Sequence[Any]) -> list[WireInput]:
    """Return the wire form of several decoded JSON inputs of a canonical type."""
    pack = packer(input_type)
    return [pack(value) for value in inputs]


_canonical_json = msgspec.json.Encoder(order="sorted").encode


def _as_it_is(value: WireInput) -> WireInput:
    return value


def _swapped(values: array[Any]) -> array[Any]:
    values.byteswap()
    return values
