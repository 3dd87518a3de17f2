"""Split a magic's line into tokens, keeping the text as typed beside the text meant.

A shell's splitter would eat the quotes of ``["a", "b"]`` and cut ``[1.1, 2.2]`` at the blank, and JSON is what
people type most here. So a token that opens with a bracket runs to its closing bracket, and every token
remembers its raw text and its place, which completion needs. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

_BRACKETS = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True)
class Token:
    """One word of a line.

    Attributes
    ----------
    raw : str
        As typed, quotes and brackets included.
    text : str
        What it means: outer quotes removed.
    start, end : int
        Place in the line, in characters; ``line[start:end] == raw``.
    """

    raw: str
    text: str
    start: int
    end: int

    @property
    def is_option(self) -> bool:
        """Whether it reads as an option: a dash and a letter, unquoted (``-1.0`` is a value)."""
        return self.raw.startswith("-") and self.raw.lstrip("-")[:1].isalpha()


class UnclosedError(ValueError):
    """A quote or a bracket was opened and not closed.

    Attributes
    ----------
    opener : str
        The quote or bracket, as typed.
    """

    def __init__(self, opener: str) -> None:
        super().__init__(f"unclosed {opener}")
        self.opener = opener


def tokenize(line: str, *, lenient: bool = False) -> list[Token]:
    """Return the tokens of a line.

    Parameters
    ----------
    line : str
        What follows ``%clipper``.
    lenient : bool
        Take an open quote or bracket as running to the end instead of refusing it, for completion.

    Raises
    ------
    UnclosedError
        If a quote or bracket stays open and ``lenient`` is false.
    """
    tokens = []
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        end, text = _word(line, position, lenient)
        tokens.append(Token(line[position:end], text, position, end))
        position = end
    return tokens


def _word(line: str, start: int, lenient: bool) -> tuple[int, str]:
    """Return where the word that begins at ``start`` ends, and what it means."""
    if line[start] in _BRACKETS:
        end = _closing(line, start, lenient)
        return end, line[start:end]
    pieces = []
    position = start
    while position < len(line) and not line[position].isspace():
        character = line[position]
        if character in "\"'":
            end = _quote_end(line, position, lenient)
            closed = end - 1 if line[end - 1] == character and end - 1 > position else end
            pieces.append(line[position + 1 : closed])
            position = end
        elif character == "[" and line[position - 1] == "=":  # --check=[1, 2]
            end = _closing(line, position, lenient)
            pieces.append(line[position:end])
            position = end
        else:
            pieces.append(character)
            position += 1
    return position, "".join(pieces)


def _quote_end(line: str, start: int, lenient: bool) -> int:
    """Return the position after the quote that closes the one at ``start``; a backslash protects the next one."""
    position = start + 1
    while position < len(line):
        if line[position] == "\\":
            position += 2
            continue
        if line[position] == line[start]:
            return position + 1
        position += 1
    if lenient:
        return len(line)
    raise UnclosedError(line[start])


def _closing(line: str, start: int, lenient: bool) -> int:
    """Return the position after the bracket that closes the one at ``start``, quotes inside respected."""
    expected: list[str] = []
    position = start
    while position < len(line):
        character = line[position]
        if character in "\"'":
            position = _quote_end(line, position, lenient)
            continue
        if character in _BRACKETS:
            expected.append(_BRACKETS[character])
        elif expected and character == expected[-1]:
            expected.pop()
            if not expected:
                return position + 1
        position += 1
    if lenient:
        return len(line)
    raise UnclosedError(line[start])
