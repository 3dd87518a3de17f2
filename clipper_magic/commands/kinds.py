"""What a value in a line may be: words, numbers, durations, JSON. No I/O."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clipper_magic.commands.tokens import Token
from clipper_magic.exceptions import ClipperUsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|µs|ms|s)")
_MICROS = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000}


@dataclass(frozen=True)
class Kind:
    """What a parameter's value may be.

    Attributes
    ----------
    metavar : str
        Its word in usage lines.
    convert : callable, (parameter's name, token) -> value
        Raises `ClipperUsageError` for a value that it refuses.
    completes : str
        What completion offers: "app", "model", "model_version", "version", "function", "command", "path" or nothing.
    choices : tuple of str
        The only words allowed, if there are any.
    """

    metavar: str
    convert: Callable[[str, Token], object]
    completes: str = ""
    choices: tuple[str, ...] = ()


def _as_text(_: str, token: Token) -> str:
    return token.text


def _as_list(_: str, token: Token) -> list[str]:
    return [item.strip() for item in token.text.split(",") if item.strip()]


def _as_number(smallest: int, largest: int | None = None) -> Callable[[str, Token], int]:
    expected = f">= {smallest}" if largest is None else f"{smallest}–{largest}"

    def convert(name: str, token: Token) -> int:
        try:
            number = int(token.text)
        except ValueError:
            number = smallest - 1
        if number < smallest or (largest is not None and number > largest):
            raise ClipperUsageError.of("bad-number", option=name, value=token.text, expected=expected)
        return number

    return convert


def _as_rate(name: str, token: Token) -> float:
    try:
        rate_hz = float(token.text)
    except ValueError:
        rate_hz = 0.0
    if not rate_hz > 0:
        raise ClipperUsageError.of("bad-number", option=name, value=token.text, expected="> 0")
    return rate_hz


def _as_micros(name: str, token: Token) -> int:
    found = _DURATION.fullmatch(token.text)
    if not found:
        raise ClipperUsageError.of("bad-duration", option=name, value=token.text)
    return round(float(found[1]) * _MICROS[found[2]])


@dataclass(frozen=True)
class TypedValue:
    """A value as typed; what it means depends on the input type: ``"1.5"`` is a number for doubles, else a text."""

    name: str
    token: Token

    def read(self, *, textual: bool) -> Any:
        """Return the JSON value, or the Python literal that ``{expression}`` expands to in a line.

        Parameters
        ----------
        textual : bool
            Inputs are texts: quotes belong to the value, and what is no JSON is a text itself.

        Raises
        ------
        ClipperUsageError
        """
        raw, bare = self.token.raw, self.token.text
        for text in (raw, bare) if textual else (bare, raw):
            for read in (_read_json, ast.literal_eval):
                try:
                    value = read(text)
                except (ValueError, SyntaxError, MemoryError, RecursionError):
                    continue
                if isinstance(value, str | list) or not textual:
                    return value
        if textual:
            return bare
        raise ClipperUsageError.of("bad-json-value", option=self.name, value=raw)

    def read_json(self) -> Any:
        """Return the value where any JSON is an input: text in quotes is text, even if it reads as a number."""
        try:
            return _read_json(self.token.raw)
        except ValueError:
            return self.read(textual=False)


def _read_json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")  # though Python's reader takes NaN and Infinity


def _as_model_version(_: str, token: Token) -> tuple[str, str | None]:
    name, _, version = token.text.partition(":")
    return name, version or None


def _as_choice(choices: tuple[str, ...]) -> Callable[[str, Token], str]:
    def convert(name: str, token: Token) -> str:
        if token.text not in choices:
            raise ClipperUsageError.of("bad-choice", option=name, value=token.text, choices=", ".join(choices))
        return token.text

    return convert


def choice(*choices: str, metavar: str = "") -> Kind:
    """Return the kind of a word out of a few."""
    return Kind(metavar or "|".join(choices), _as_choice(choices), choices=choices)


def number(smallest: int = 0, largest: int | None = None) -> Kind:
    """Return the kind of a whole number within bounds."""
    return Kind("N", _as_number(smallest, largest))


def text(metavar: str, completes: str = "") -> Kind:
    """Return the kind of any text."""
    return Kind(metavar, _as_text, completes)


FLAG = Kind("", _as_text)
APP = text("APP", "app")
MODEL = text("MODEL", "model")
MODEL_VERSION = Kind("NAME[:V]", _as_model_version, "model_version")
FUNCTION = text("F", "function")
DURATION = Kind("100ms", _as_micros)
JSON = Kind("JSON", TypedValue)
RATE = Kind("HZ", _as_rate)
LIST = Kind("A,B", _as_list)
