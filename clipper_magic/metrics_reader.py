"""Read Clipper's metrics, in which every leaf is a string in a list of one-entry objects. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_MICROS = 1e6


class Metrics:
    """The metrics of a query frontend, by name.

    Parameters
    ----------
    document : mapping
        What ``GET /metrics`` answers.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._by_name: dict[str, Mapping[str, str]] = {}
        for kind in ("counters", "ratio_counters", "meters", "histograms"):
            for entry in document.get(kind, ()):
                self._by_name.update(entry)

    def value(self, name: str, leaf: str) -> float | None:
        """Return one figure; None if nobody measured it yet."""
        try:
            number = float(self._by_name[name][leaf])
        except (KeyError, ValueError, TypeError):
            return None
        return number if math.isfinite(number) else None

    def latency_s(self, kind: str, name: str, leaf: str) -> float | None:
        """Return a figure of ``prediction_latency`` in seconds; ``kind`` is "app" or "model"."""
        micros = self.value(f"{kind}:{name}:prediction_latency", leaf)
        return micros / _MICROS if micros and self.value(f"{kind}:{name}:prediction_latency", "size") else None

    def names(self) -> list[str]:
        """Return every metric's name."""
        return list(self._by_name)
