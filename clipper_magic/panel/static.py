"""The panel that stands still: HTML that any front-end keeps, and text for a terminal. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from clipper_magic.panel import chart
from clipper_magic.panel.board import NOTHING, Row
from clipper_magic.render import Bundle, escape, html_table, text_table
from clipper_magic.wording import Texts

_COLUMNS = ("app", "model", "state", "replicas", "latency", "qps", "batch", "cache", "defaults")
_INDENT = "    "
_ON_ONE_LINE = ("state", "latency", "qps", "batch", "cache")


def bundle(
    title: str,
    rows: Sequence[Row],
    charts: Mapping[str, tuple[bytes, float, str]],
    texts: Texts,
    width: int | None = None,
) -> Bundle:
    """Return the panel as HTML and as text.

    Parameters
    ----------
    title : str
    rows : sequence of Row
        From `Board.rows`.
    charts : mapping of application to (curves, SLO in seconds, its label)
        Only applications that were asked lately.
    texts : Texts
    width : int, optional
        Characters a line of the terminal that shows the text: a table that is wider becomes one paragraph a row.
    """
    heads = [texts(f"panel.head_{name}") for name in _COLUMNS]
    body = [_cells(row, texts) for row in rows]
    pictures = "".join(_picture(app, *values, texts) for app, values in charts.items())
    table = html_table(heads, [_unbroken(cells) for cells in body], title) if body else f"<div>{escape(title)}</div>"
    words = text_table(heads, body) if body else ""
    if width is not None and max(map(len, words.splitlines()), default=0) > width:
        words = "\n".join(_paragraph(heads, cells, width) for cells in body)
    plain = f"{title}\n{words}" if body else title
    return {"text/html": table + pictures, "text/plain": plain}


def _cells(row: Row, texts: Texts) -> list[str]:
    current = f" ({texts('panel.current')})" if row["current"] and row["version"] else ""
    model = f"{row['model']}:{row['version']}{current}" if row["version"] else row["model"]
    replicas = f"{row['observed']}/{row['requested']}" if row["version"] else ""
    defaults = f"{row['defaults']} ({row['why']})" if row["why"] else row["defaults"]
    app = f"{row['app']} ({row['facts']})" if row["first"] and row["facts"] else row["app"] if row["first"] else ""
    state = f"{row['glyph']} {row['state']}"
    return [app, model, state, replicas, row["latency"], row["qps"], row["batch"], row["cache"], defaults]


def _paragraph(heads: Sequence[str], cells: Sequence[str], width: int) -> str:
    """Return a row as a few lines: application, model with its state and replicas, then what was measured, by name."""
    app, model, state, replicas, *figures = cells
    lines = [app] if app.strip(NOTHING) else []
    lines.append("  " + "  ".join(filter(None, (model, state, replicas))))
    measured = [(head, figure) for head, figure in zip(heads[4:], figures, strict=True) if figure.strip(NOTHING)]
    named = [f"{head} {figure}".replace(" ", "\u00a0") for head, figure in measured]
    lines += textwrap.wrap(" · ".join(named), width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return "\n".join(lines).replace("\u00a0", " ")


def _unbroken(cells: Sequence[str]) -> list[str]:
    """Return cells whose figures and states stay on one line."""
    return [
        cell.replace(" ", "\u00a0") if name in _ON_ONE_LINE else cell
        for name, cell in zip(_COLUMNS, cells, strict=True)
    ]


def _picture(app: str, data: bytes, slo_s: float, slo_label: str, texts: Texts) -> str:
    title = texts("panel.chart", app=app)
    picture = chart.svg(chart.read_curves(data), slo_s, slo_label, title, texts.space)
    return f"<div>{escape(title)}</div>{chart.as_image(picture, title)}"
