"""What commands return and show: Python's own lists and dicts that also know how to look good. No I/O, no widgets.

HTML is made of what a front-end keeps even in a notebook that it does not trust: tables with captions and scopes,
``details``, plain colours; no style sheet, no CSS variable, no inline SVG.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from clipper_magic.told import Told

Bundle = dict[str, str]


class Names(Told, list[Any]):
    """A list of names; in a notebook, one a line."""

    def _repr_html_(self) -> str:
        items = "".join(f"<li><code>{escape(name)}</code></li>" for name in self)
        return f'<ul style="margin: 0">{items}</ul>' if items else "<code>[]</code>"


class Records(list[dict[str, Any]]):
    """A list of dicts; a table in a notebook and in a terminal."""

    def _repr_html_(self) -> str:
        return html_table(columns(self), rows(self)) if self else "<code>[]</code>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(text_table(columns(self), rows(self)) if self else "[]")


class Info(Told, dict[str, Any]):
    """A dict about one thing."""

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th scope="row" style="text-align: left">{escape(key)}</th>'
            f'<td style="text-align: left">{code(value)}</td></tr>'
            for key, value in self.items()
        )
        return f"<table>{cells}</table>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("{...}" if cycle else repr(dict(self)))


class Metrics(dict[str, Any]):
    """Clipper's metrics document: every kind a list of one-entry objects, ``{name: {leaf: text}}``; shown as tables."""

    def _tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        for kind, entries in self.items():
            records = [{"name": name, **leaves} for entry in entries for name, leaves in entry.items()]
            if records:
                yield kind, columns(records), [[_short(cell) for cell in row] for row in rows(records)]

    def _repr_html_(self) -> str:
        tables = (
            f"<details open><summary>{kind}</summary>{html_table(heads, body)}</details>"
            for kind, heads, body in self._tables()
        )
        return "".join(tables) or code(dict(self))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        tables = (f"{kind}\n{text_table(heads, body)}" for kind, heads, body in self._tables())
        printer.text("\n\n".join(tables) or repr(dict(self)))


class Prediction(dict[str, Any]):
    """The answer to a query, and in plain words why it is a default one.

    Attributes
    ----------
    reason : str
        A sentence in the reader's language; empty unless the answer is a default one.
    """

    reason: str = ""

    def _repr_html_(self) -> str:
        warning = f"<div>⚠ {with_code(self.reason)}</div>" if self.reason else ""
        return f"{code(dict(self))}{warning}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(dict(self)) + (f"\n⚠ {self.reason}" if self.reason else ""))


class Batch(list[Prediction]):
    """The answers to a batch of queries, in its order."""

    def _repr_html_(self) -> str:
        return "".join(f"<div>{answer._repr_html_()}</div>" for answer in self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr([dict(answer) for answer in self]))
        reasons = dict.fromkeys(answer.reason for answer in self if answer.reason)
        printer.text("".join(f"\n⚠ {reason}" for reason in reasons))


class Logs(list[Any]):
    """Something listed whose text is what people want to read: log files, grouped errors.

    Attributes
    ----------
    text : str
    """

    text: str = ""

    def _repr_html_(self) -> str:
        return preformatted(self.text)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.text or "[]")


class Checks(dict[str, Any]):
    """Named checks, each ``{"ok": True|False|None, "message": sentence}``; None is a remark."""

    _GLYPHS = {True: "✓", False: "✗", None: "·"}  # noqa: RUF012

    def lines(self) -> list[str]:
        """Return one line a check, its glyph first."""
        return [f"{self._GLYPHS[check['ok']]} {check['message']}" for check in self.values()]

    def _repr_html_(self) -> str:
        return "".join(f"<div>{with_code(line)}</div>" for line in self.lines())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("\n".join(self.lines()))


class Still:
    """Something that is shown as it was at one moment.

    Parameters
    ----------
    bundle : dict
        ``text/plain`` and ``text/html``.
    html : bool
        Whether the HTML is for showing.
    """

    def __init__(self, bundle: Bundle, *, html: bool) -> None:
        self.bundle = bundle if html else {"text/plain": bundle["text/plain"]}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:
        return self.bundle


def escape(value: object) -> str:
    """Return a value as HTML text."""
    return html.escape(str(value))


def code(value: object) -> str:
    """Return a Python value as HTML code."""
    return f"<code>{html.escape(value if isinstance(value, str) else repr(value))}</code>"


def with_code(sentence: str) -> str:
    """Return a sentence as HTML, its pieces between backticks as code."""
    pieces = escape(sentence).split("`")
    if len(pieces) % 2 == 0:  # an odd backtick: data, not our marking
        return escape(sentence)
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


def preformatted(text: str) -> str:
    """Return text as HTML that keeps its lines."""
    return f'<pre style="white-space: pre-wrap; margin: 0">{escape(text)}</pre>'


def columns(records: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the keys of all records in the order in which they appear; a name, which heads its row, first."""
    keys = dict.fromkeys(key for record in records for key in record)
    return sorted(keys, key=lambda key: key != "name")


def rows(records: Sequence[Mapping[str, object]]) -> list[list[str]]:
    """Return the records as rows of text for `columns`; a missing value is empty."""
    names = columns(records)
    return [[_cell(record.get(name, "")) for name in names] for record in records]


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)


def _short(cell: str) -> str:
    """Return a figure with six digits at most; other text as it is."""
    try:
        return f"{float(cell):.6g}"
    except ValueError:
        return cell


def html_table(heads: Sequence[str], body: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table as HTML; the first column heads its row."""
    left = 'style="text-align: left"'
    top = "".join(f'<th scope="col" {left}>{escape(head)}</th>' for head in heads)
    lines = "".join(
        f'<tr><th scope="row" {left}>{escape(line[0])}</th>'
        + "".join(f"<td {left}>{escape(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in body
    )
    title = f"<caption {left}>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def text_table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table as aligned text."""
    lines = [list(heads), *(list(line) for line in body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def report(
    sentences: Sequence[str],
    log: Sequence[str] = (),
    log_title: str = "",
    details: Sequence[str] = (),
    details_title: str = "",
) -> Bundle:
    """Return the display of a finished command: its sentences, its log folded away, and what went wrong unfolded.

    Parameters
    ----------
    sentences : sequence of str
    log : sequence of str
        Log lines; plain text has none of them.
    log_title : str
        What their fold is called.
    details : sequence of str
        What is read at once: the lines that an error quotes. They come last, for the error's own line is below.
    details_title : str
        What their fold is called.
    """
    markup = "".join(_paragraph(sentence) for sentence in sentences)
    markup += _fold(log_title, log) + _fold(details_title, details, " open")
    return {"text/plain": "\n".join([*sentences, *details]), "text/html": markup}


def _fold(title: str, lines: Sequence[str], state: str = "") -> str:
    if not lines:
        return ""
    return f"<details{state}><summary>{escape(title)}</summary>{preformatted(chr(10).join(lines))}</details>"


def _paragraph(sentence: str) -> str:
    """Return a sentence as HTML; what has several lines, such as a list of commands, keeps them and its columns."""
    if "\n" in sentence:
        return f'<pre style="white-space: pre-wrap; margin: 0">{with_code(sentence)}</pre>'
    return f"<div>{with_code(sentence)}</div>"


def running(sentence: str, step: str = "") -> Bundle:
    """Return the display of a command that still works: what it does, and its newest log line."""
    tail = f" · {step}" if step else ""
    return {
        "text/plain": f"{sentence}{tail}",
        "text/html": f'<div><progress aria-label="{escape(sentence)}"></progress> {with_code(sentence)}'
        f"<small>{escape(tail)}</small></div>",
    }
