"""Read the message files: one TOML table a code, one file a kind and language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from clipper_magic.messages import phrases
from clipper_magic.messages.formatter import Formatter

LANGUAGES = ("en", "fr")
DEFAULT_LANGUAGE = "en"


@cache
def load(kind: str, language: str) -> Mapping[str, Mapping[str, str]]:
    """Return every entry of one message file.

    Parameters
    ----------
    kind : str
        ``"errors"`` or ``"text"``: the first part of the file's name.
    language : str
        One of ``LANGUAGES``; any other falls back to English.

    Returns
    -------
    mapping of code to a mapping of texts, read-only
    """
    chosen = language if language in LANGUAGES else DEFAULT_LANGUAGE
    source = files(__package__).joinpath(f"{kind}.{chosen}.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(source))


def render(kind: str, code: str, part: str, language: str, fields: Mapping[str, object]) -> str:
    """Fill one text in.

    Parameters
    ----------
    kind, code, part : str
        Which file, which entry and which text of it (``"what"``, ``"fix"`` or ``"msg"`` for errors).
    language : str
        One of ``LANGUAGES``.
    fields : mapping
        Values of the ``{placeholders}``; those of `phrases.FIELDS` are translated where we know them.

    Returns
    -------
    str
        Empty when the entry has no such part.

    Raises
    ------
    KeyError
        If there is no entry ``code``, or a placeholder has no value: a mistake in the program.
    """
    said = {
        name: phrases.translate(value, language) if name in phrases.FIELDS and isinstance(value, str) else value
        for name, value in fields.items()
    }
    return Formatter(language).vformat(load(kind, language)[code].get(part, ""), (), said)
