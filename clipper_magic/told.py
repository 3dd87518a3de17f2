"""Values of commands whose sentence says what they did: shown when somebody asks for them, not below that sentence."""

from __future__ import annotations

import sys

ERASED_LINE = "\r\x1b[K"
"""What takes the line back on which a terminal's cursor is."""


class Told:
    """A value that the sentence of its command tells already.

    Attributes
    ----------
    said_in : int or None
        Number of the cell, or of the terminal's input, that said it and does not echo the value as well.
    """

    said_in: int | None = None

    def _ipython_display_(self) -> None:
        """Show nothing if the sentence is enough; `NotImplementedError` sends IPython on to the other forms."""
        from IPython.core.getipython import get_ipython

        shell = get_ipython()
        if self.said_in is None or shell is None or shell.execution_count != self.said_in:
            raise NotImplementedError
        if sys.stdout.isatty():
            sys.stdout.write(ERASED_LINE)  # the prompt "Out[3]:", which a terminal has shown by now


class Count(Told, int):
    """A number of things."""


class Word(Told, str):
    """A name, or the code of a language."""
