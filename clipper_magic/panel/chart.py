"""The last minute of an application as a picture that stands still: an SVG in plain colours. Pure.

The live panel draws the same in the browser; this one is for what is saved. A notebook that is not trusted keeps an
``<img>`` but strips inline SVG, hence `as_image`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from clipper_magic.panel.figures import CURVES, POINTS

WIDTH, HEIGHT = 640, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 92, 10, 22
LATENCIES = CURVES[:3]
STROKES = {"p50": "#1f77b4", "p95": "#c2570c", "p99": "#7b3fa0"}
DASHES = {"p50": "", "p95": "6 3", "p99": "2 3"}
GREY, SLO_RED = "#767676", "#b3261e"
LABEL_GAP = 13

Curve = np.ndarray[tuple[int], np.dtype[np.float32]]


def read_curves(data: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return curves of shape (len(CURVES), POINTS) from what `History.curves` gave."""
    return np.frombuffer(data, "<f4").reshape(len(CURVES), POINTS)


def bounds(curves: np.ndarray[tuple[int, int], np.dtype[np.float32]], slo_s: float) -> tuple[float, float]:
    """Return the decades (seconds) between which the SLO and every latency lie."""
    values = curves[: len(LATENCIES)]
    known = values[np.isfinite(values) & (values > 0)]
    low = min(slo_s / 10, float(known.min()) if known.size else slo_s)
    high = max(slo_s * 1.2, float(known.max()) if known.size else slo_s)
    return 10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high))


def svg(
    curves: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    slo_s: float,
    slo_label: str,
    title: str,
    space: str = " ",
) -> str:
    """Return the chart: three latencies on a logarithmic scale, and the SLO.

    Parameters
    ----------
    curves : array of shape (len(CURVES), POINTS)
        Latencies in seconds.
    slo_s : float
        In seconds.
    slo_label, title : str
        In the reader's language.
    space : str
        What stands between a number and its unit.
    """
    low, high = bounds(curves, slo_s)
    inner = HEIGHT - TOP - BOTTOM

    def y(seconds: float) -> float:
        return float(TOP + inner * (1 - np.log10(seconds / low) / np.log10(high / low)))

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    for exponent in range(round(np.log10(low)), round(np.log10(high)) + 1):
        at = y(10.0**exponent)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 6, at + 4, tick(exponent, space), GREY, "end"))
    parts.append(f'<path d="M{LEFT} {y(slo_s):.1f}H{WIDTH - RIGHT}" stroke="{SLO_RED}" stroke-dasharray="8 4"/>')
    labels = [(y(slo_s), slo_label, SLO_RED)]
    for name, values in zip(LATENCIES, curves, strict=False):
        parts.append(
            f'<path d="{_path(values, y)}" fill="none" stroke="{STROKES[name]}" stroke-width="1.6"'
            f' stroke-dasharray="{DASHES[name]}"/>'
        )
        parts.append(
            f'<path d="{_dots(values, y)}" stroke="{STROKES[name]}" stroke-width="4.5" stroke-linecap="round"/>'
        )
        last = values[np.isfinite(values)]
        if last.size:
            labels.append((y(float(last[-1])), name, STROKES[name]))
    parts += [_text(WIDTH - RIGHT + 6, at + 4, word, colour) for at, word, colour in spread(labels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def spread(labels: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Return the labels moved down just as far as it takes that none covers another."""
    placed: list[tuple[float, str, str]] = []
    for at, word, colour in sorted(labels):
        floor = placed[-1][0] + LABEL_GAP if placed else at
        placed.append((max(at, floor), word, colour))
    overflow = placed[-1][0] - (HEIGHT - 6) if placed else 0
    return [(at - max(0.0, overflow), word, colour) for at, word, colour in placed]


def tick(exponent: int, space: str = " ") -> str:
    """Return the label of a decade: ``10 µs``, ``1 ms``, ``10 s``."""
    unit, shift = ("µs", 6) if exponent < -3 else ("ms", 3) if exponent < 0 else ("s", 0)
    return f"{10 ** (exponent + shift):g}{space}{unit}"


def as_image(picture: str, alternative: str) -> str:
    """Return an SVG as an ``<img>`` with everything in it."""
    data = base64.b64encode(picture.encode()).decode()
    return f'<img alt="{escape(alternative)}" src="data:image/svg+xml;base64,{data}">'


def _path(values: Curve, y: Callable[[float], float]) -> str:
    pieces, pen_down = [], False
    for i, value in enumerate(values):
        if not 0 < value < np.inf:
            pen_down = False
            continue
        pieces.append(f"{'L' if pen_down else 'M'}{_x(i):.1f} {y(float(value)):.1f}")
        pen_down = True
    return "".join(pieces)


def _dots(values: Curve, y: Callable[[float], float]) -> str:
    """Return the points without neighbours, which are no lines, as lines without length whose ends are round."""
    there = np.pad((values > 0) & np.isfinite(values), 1)
    lone = np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])
    return "".join(f"M{_x(i):.1f} {y(float(values[i])):.1f}h0" for i in lone.tolist())


def _x(point: int) -> float:
    return LEFT + point * (WIDTH - LEFT - RIGHT) / (POINTS - 1)


def _text(x: float, y: float, words: str, colour: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" '
        f'font-family="sans-serif" font-size="11">{escape(words)}</text>'
    )
