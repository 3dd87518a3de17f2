"""Sentences in the reader's language, with its plurals and its decimal sign. No I/O but the catalogue's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clipper_magic.messages import catalogue
from clipper_magic.messages.formatter import Formatter

NO_BREAK = "\u00a0"
NARROW = "\u202f"


class Texts:
    """The sentences of one language.

    Parameters
    ----------
    language : str
        ``"en"`` or ``"fr"``.

    Attributes
    ----------
    space : str
        What stands between a number and its unit.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self.space = NARROW if language == "fr" else " "
        self._formatter = Formatter(language)

    def __call__(self, message_id: str, /, **fields: object) -> str:
        """Return the sentence ``"group.name"`` of the catalogue, filled in.

        Raises
        ------
        KeyError
            If there is no such sentence, or a placeholder has no value: a mistake in the program.
        """
        group, _, name = message_id.partition(".")
        return self._formatter.vformat(catalogue.load("text", self.language)[group][name], (), fields)

    def has(self, message_id: str) -> bool:
        """Return whether the catalogue has this sentence."""
        group, _, name = message_id.partition(".")
        return name in catalogue.load("text", self.language).get(group, {})

    def labels(self, group: str) -> Mapping[str, str]:
        """Return every sentence of a group that has no placeholder, by name: the words of a table or panel."""
        return dict(catalogue.load("text", self.language)[group])

    def duration(self, seconds: float) -> str:
        """Return a duration for people: ``80 µs``, ``340 ms``, ``1.2 s``, ``12 min``, ``3 h``."""
        number, unit = self._scaled(seconds)
        return f"{number}{self.space}{unit}"

    def _scaled(self, seconds: float) -> tuple[str, str]:
        if 0 < seconds < 0.0009995:
            return f"{seconds * 1e6:.0f}", "µs"
        if seconds < 0.9995:
            return f"{seconds * 1000:.0f}", "ms"
        if seconds < 59.95:
            return self._formatter.format_field(float(seconds), ".1f").removesuffix(
                ",0" if self.language == "fr" else ".0"
            ), "s"
        if seconds < 5400:
            return f"{seconds / 60:.0f}", "min"
        return f"{seconds / 3600:.0f}", "h"

    def number(self, value: float, spec: str = ".1f") -> str:
        """Return a number with the language's decimal sign."""
        return self._formatter.format_field(float(value), spec)

    def quoted(self, text: str) -> str:
        """Return a piece of data between the language's quotation marks."""
        return f"«{NO_BREAK}{text}{NO_BREAK}»" if self.language == "fr" else f'"{text}"'

    def listing(self, items: Sequence[object]) -> str:
        """Return the items separated by commas."""
        return ", ".join(str(item) for item in items)
