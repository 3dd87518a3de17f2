"""What is wrong with a JSON body, in the words of Clipper's C++ (RapidJSON's, where that found it)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

NOT_AN_OBJECT = "JSON schema invalid"

_OFFSET = re.compile(r" \(byte (\d+)\)")


class BadDocument(Exception):
    """A body that is no JSON object, or not the one expected; the message says why."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``.

    Raises
    ------
    BadDocument
        If it is not JSON, or not an object.
    """
    try:
        document = msgspec.json.decode(body)
    except msgspec.ValidationError:  # the only one that decoding without a type has: a number beyond a double
        raise BadDocument("JSON parse error: Number too big to be stored in double.\n") from None
    except RecursionError:
        raise BadDocument(f"JSON parse error: Invalid nesting. (offset {len(body)})\n") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        found = _OFFSET.search(str(exc))
        offset = int(found[1]) if found else len(body)
        raise BadDocument(f"JSON parse error: {_OFFSET.sub('', str(exc))}. (offset {offset})\n") from None
    if not isinstance(document, dict):
        raise BadDocument(NOT_AN_OBJECT)
    return document


def missing_key(key: str) -> BadDocument:
    """Return the error for an object without ``key``."""
    return BadDocument(f"JSON object does not have required key: {key}")


def type_mismatch(key: str, expected: str, value: object) -> BadDocument:
    """Return the error for a ``value`` under ``key`` that is of another kind than ``expected``."""
    # Clipper's text lacks the space, and its users' scripts look for the text.
    return BadDocument(f"Type mismatch! JSON key {key} expected type {expected}but found type {kind(value)}")


def kind(value: object) -> str:
    """Return RapidJSON's name for the kind of a decoded JSON ``value``, for instance Array."""
    if isinstance(value, bool):
        return str(value)
    names = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return names.get(type(value), "Null")
