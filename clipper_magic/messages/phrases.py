"""Pieces of sentences that the program hands in as a reason, an expectation or a step, in the reader's language.

The code says them in English, as it does in its logs. Their translations are a table from one text to the other; what
is not in it is data (a name, another program's words) and stays as it is.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

FIELDS = frozenset({"reason", "expected", "purpose", "step", "culprit"})
"""The placeholders that hold such a piece."""


@cache
def load(language: str) -> Mapping[str, str]:
    """Return the table from English to ``language``; empty for English."""
    source = files(__package__).joinpath(f"phrases.{language}.toml")
    return tomllib.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((_pattern(english), text) for english, text in load(language).items())


def _pattern(english: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", english)
    return re.compile(
        "".join(f"(?P<{piece}>.+)" if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)), re.DOTALL
    )


def translate(phrase: str, language: str) -> str:
    """Return a phrase in ``language``, and what it quotes, too; a text that the table does not know stays."""
    for pattern, text in _patterns(language):
        found = pattern.fullmatch(phrase)
        if found:
            return text.format_map({name: translate(piece, language) for name, piece in found.groupdict().items()})
    return phrase
