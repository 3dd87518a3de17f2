"""What a command takes, and how a line is read against it.

The same few records drive parsing, ``--help`` and completion in both languages, which argparse could not do: its
messages are English, and it takes ``--default-output -inf`` for two options. No I/O.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any

from clipper_magic.commands.tokens import Token, UnclosedError, tokenize
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


@dataclass(frozen=True)
class Parameter:
    """One argument (``APP``) or option (``--input-type``) of a command.

    Attributes
    ----------
    name : str
        With two dashes it is an option.
    short : str
        Its one-dash form, if any.
    required, repeats : bool
        ``repeats`` takes every value that follows, as a list.
    """

    name: str
    kind: Kind
    short: str = ""
    required: bool = False
    repeats: bool = False
    default: Any = None

    @property
    def is_option(self) -> bool:
        """Whether it is given by name."""
        return self.name.startswith("--")

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return self.kind is FLAG

    @property
    def dest(self) -> str:
        """The attribute that holds its value: ``--input-type`` -> ``input_type``."""
        return self.name.lstrip("-").replace("-", "_").lower()


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

COMMON = (
    Parameter("--output", text("VAR"), short="-o"),
    Parameter("--help", FLAG, short="-h"),
)
"""Options of every command."""


@dataclass(frozen=True)
class Command:
    """One word after ``%clipper``.

    Attributes
    ----------
    name : str
    run : callable, (session, arguments) -> value
        Returns what the Python API returns.
    parameters : tuple of Parameter
        Arguments in their order, then options.
    usage : str
        Written by hand where the parameters alone would mislead; else empty.
    magic : str
        How its line begins.
    """

    name: str
    run: Callable[[Any, Any], object]
    parameters: tuple[Parameter, ...] = ()
    usage: str = ""
    magic: str = "%clipper"

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        """The parameters given by place."""
        return tuple(p for p in self.parameters if not p.is_option)

    @property
    def options(self) -> tuple[Parameter, ...]:
        """The parameters given by name, with those of every command."""
        return tuple(p for p in self.parameters if p.is_option) + COMMON

    @property
    def title(self) -> str:
        """What is typed to call it."""
        return f"{self.magic} {self.name}" if self.is_line else self.magic

    @property
    def short_title(self) -> str:
        """How a list of commands shows it: without ``%clipper``."""
        return self.name if self.is_line else self.magic

    @property
    def is_line(self) -> bool:
        """Whether it is a word after ``%clipper``, not a cell magic."""
        return self.magic == "%clipper"


def nearest(word: str, words: Sequence[str]) -> str:
    """Return the word most like ``word``, or an empty text if none is near."""
    return next(iter(get_close_matches(word.lower(), words, n=1, cutoff=0.6)), "")


def split(line: str) -> list[Token]:
    """Return the tokens of a line; an open quote or bracket is a usage error."""
    try:
        return tokenize(line)
    except UnclosedError as exc:
        raise ClipperUsageError.of("unclosed", opener=exc.opener) from None


def parse(command: Command, tokens: Sequence[Token]) -> SimpleNamespace:
    """Return the values of a command's parameters.

    Parameters
    ----------
    command : Command
    tokens : sequence of Token
        What follows the command's name.

    Returns
    -------
    namespace
        One attribute a parameter (``Parameter.dest``); an absent one has its default, a flag is a bool. With
        ``--help`` nothing else is checked.

    Raises
    ------
    ClipperUsageError
    """
    values: dict[str, Any] = {p.dest: False if p.is_flag else p.default for p in command.parameters + COMMON}
    options = {name: p for p in command.options for name in (p.name, p.short) if name}
    places = list(command.arguments)
    rest = list(tokens)
    if any(token.raw in ("--help", "-h") for token in rest):
        values["help"] = True
        return SimpleNamespace(**values)
    while rest:
        token = rest.pop(0)
        if token.is_option:
            parameter, token = _option(command, options, token, rest)
        else:
            parameter = _place(command, places, token)
        if parameter.is_flag:
            values[parameter.dest] = True
        elif parameter.repeats:
            values[parameter.dest] = [*(values[parameter.dest] or []), parameter.kind.convert(parameter.name, token)]
        else:
            values[parameter.dest] = parameter.kind.convert(parameter.name, token)
    _check_required(command, values)
    return SimpleNamespace(**values)


def _option(
    command: Command, options: dict[str, Parameter], token: Token, rest: list[Token]
) -> tuple[Parameter, Token]:
    """Return the option that a token names, and the token of its value (taken from ``rest`` if it follows)."""
    name, equals, raw = token.raw.partition("=")
    parameter = options.get(name)
    if parameter is None:
        near = nearest(name, [p.name for p in command.options]) or f"{command.title} --help"
        raise ClipperUsageError.of("unknown-option", option=name, command=command.title, suggestion=near)
    if parameter.is_flag:
        if equals:
            raise ClipperUsageError.of("no-value-wanted", option=name, value=raw)
        return parameter, token
    if equals:
        return parameter, Token(raw, token.text.partition("=")[2], token.start, token.end)
    if not rest or rest[0].raw.startswith("--"):
        raise ClipperUsageError.of("missing-value", option=name, metavar=parameter.kind.metavar)
    return parameter, rest.pop(0)


def _place(command: Command, places: list[Parameter], token: Token) -> Parameter:
    """Return the argument that a value stands for, and use it up unless it repeats."""
    if not places:
        raise ClipperUsageError.of("too-many-arguments", value=token.raw, usage=usage(command))
    return places[0] if places[0].repeats else places.pop(0)


def _check_required(command: Command, values: dict[str, Any]) -> None:
    missing = [p.name for p in command.parameters if p.required and values[p.dest] in (None, [])]
    if missing:
        raise ClipperUsageError.of("missing-argument", argument=" ".join(missing), usage=usage(command))


def usage(command: Command) -> str:
    """Return the usage line of a command: ``%clipper link APP MODEL``."""
    if command.usage:
        return f"{command.title} {command.usage}"
    words = [command.title]
    for p in command.parameters:
        word = p.name if p.is_flag else f"{p.name} {p.kind.metavar}" if p.is_option else p.name
        word = f"{word}…" if p.repeats else word
        words.append(word if p.required else f"[{word}]")
    return " ".join(words)
