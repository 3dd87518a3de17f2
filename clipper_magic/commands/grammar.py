"""What a command takes, and how a line is read against it.

The same few records drive parsing, ``--help`` and completion in both languages, which argparse could not do: its
messages are English, and it takes ``--default-output -inf`` for two options. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any

from clipper_magic.commands.kinds import FLAG, Kind, text
from clipper_magic.commands.tokens import Token, UnclosedError, tokenize
from clipper_magic.exceptions import ClipperUsageError


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
