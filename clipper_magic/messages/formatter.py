"""Fill sentences in: the plurals and the decimal sign of a language. Pure."""

from __future__ import annotations

import string
from typing import Any


class Formatter(string.Formatter):
    """``str.format`` with plurals, ``{n:replica|replicas}``, and the language's decimal sign, ``{x:.1f}``.

    Parameters
    ----------
    language : str
        ``"en"`` or ``"fr"``. In French 0 is singular, and so is 1.5; in English only 1 is.
    """

    def __init__(self, language: str) -> None:
        self.french = language == "fr"

    def format_field(self, value: Any, format_spec: str) -> str:
        """Return a value as the sentence shows it; a specification with ``|`` chooses a word by the value."""
        if "|" in format_spec:
            singular, plural = format_spec.split("|")
            return singular if abs(value) == 1 or (self.french and abs(value) < 2) else plural
        text = str(super().format_field(value, format_spec))
        return text.replace(".", ",") if self.french and isinstance(value, float) else text
