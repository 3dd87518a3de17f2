"""A figure: something measured, beside what is wanted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """What is wanted of a figure: at least ``low``, below ``high``, or both."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Tell whether ``value`` is within."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        words = [] if self.low is None else [f"at least {self.low:g}"]
        if self.high is not None:
            words.append(f"at most {self.high:g}")
        return ", ".join(words)


def at_least(value: float) -> Bound:
    """Return the bound of a figure that must not be smaller."""
    return Bound(low=value)


def at_most(value: float) -> Bound:
    """Return the bound of a figure that must not be larger."""
    return Bound(high=value)


@dataclass(frozen=True)
class Figure:
    """Something measured.

    Attributes
    ----------
    name : str
        What it is, in a few words.
    value : float
        In ``unit``.
    unit : str
        "s", "ms", "/s", "MiB", or empty for a ratio.
    bound : Bound, optional
        What is wanted; None: it only informs.
    note : str
        What a reader must know beside it.
    """

    name: str
    value: float
    unit: str = ""
    bound: Bound | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return "yes" or "no": does it keep to its bound? "–" without one."""
        if self.bound is None:
            return "–"
        return "yes" if self.bound.holds(self.value) else "no"

    def __str__(self) -> str:
        parts = [f"{self.name}: {format_value(self.value)} {self.unit}".rstrip()]
        if self.bound is not None:
            parts.append(f"(wanted: {self.bound}: {self.verdict})")
        if self.note:
            parts.append(f"[{self.note}]")
        return " ".join(parts)

    def to_record(self, group: str) -> dict[str, Any]:
        """Return it as a JSON object; ``group`` is the experiment that it belongs to."""
        bound = None if self.bound is None else [self.bound.low, self.bound.high]
        return {
            "kind": "figure",
            "group": group,
            "name": self.name,
            "value": round(self.value, 6),
            "measured_in": self.unit,  # "unit" is what a record names the piece of work by
            "bound": bound,
            "note": self.note,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Figure:
        """Return what `to_record` wrote."""
        bound = None if record["bound"] is None else Bound(*record["bound"])
        return cls(record["name"], record["value"], record["measured_in"], bound, record["note"])


def format_value(value: float) -> str:
    """Return a number with as many digits as mean something.

    Examples
    --------
    >>> format_value(41805.3), format_value(3.456), format_value(0.4123), format_value(0.0)
    ('41,805', '3.46', '0.412', '0')
    """
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
