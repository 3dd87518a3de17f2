"""Figures -> words: the rows of the panel, as every form of it shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipper_magic.panel.figures import AppFigures, Figures, VersionFigures
from clipper_magic.wording import Texts

NOTHING = "–"
LEAST_SHARE = 0.001

Row = dict[str, Any]


class Board:
    """Puts figures into the words of a language.

    Parameters
    ----------
    texts : Texts
    """

    def __init__(self, texts: Texts) -> None:
        self.texts = texts

    def rows(self, figures: Figures) -> list[Row]:
        """Return one row a version of each application's model, then those of models that no application asks.

        A row has texts ("app", "facts", "model", "version", "state", "glyph", "latency", "qps", "batch", "cache",
        "defaults", "why") and what buttons need ("key", "id", "current", "requested", "observed"). "first" marks an
        application's first row; "late" a p99 beyond the SLO.
        """
        linked = {app.model for app in figures.apps if app.model}
        rows = [row for app in figures.apps for row in self._app_rows(app, figures)]
        free = [version for version in figures.versions if version.model not in linked]
        return rows + [self._version_row(None, version, first=not i) for i, version in enumerate(free)]

    def _app_rows(self, app: AppFigures, figures: Figures) -> list[Row]:
        versions = [version for version in figures.versions if version.model == app.model]
        # The current version first: it is what the application's clients get.
        versions.sort(key=lambda version: not version.current)
        if not versions:
            return [self._empty_row(app)]
        return [self._version_row(app, version, first=not i) for i, version in enumerate(versions)]

    def _empty_row(self, app: AppFigures) -> Row:
        row = dict.fromkeys(("version", "batch", "cache"), "")
        return {
            **row,
            **self._app_words(app),
            "id": f"{app.name}/",
            "key": "",
            "first": True,
            "model": NOTHING,
            "state": self.texts("panel.no_model"),
            "glyph": "○",
            "current": True,
            "requested": 0,
            "observed": 0,
        }

    def _version_row(self, app: AppFigures | None, version: VersionFigures, *, first: bool) -> Row:
        glyph, state = self._state(version, asked=app is not None)
        row: Row = {
            "id": f"{app.name if app else ''}/{version.key}",
            "key": version.key,
            "first": first,
            "app": "",
            "facts": "",
            "model": version.model,
            "version": version.version,
            "current": version.current,
            "state": state,
            "glyph": glyph,
            "requested": version.requested,
            "observed": version.observed,
            "batch": self._number(version.batch),
            "cache": self._share(version.cache_hits),
        }
        # What clients of the application see, for the version that serves them; else what the version itself does.
        if app and version.current:
            return {**row, **self._app_words(app)}
        latency = self._latencies(version.p50, version.p95, version.p99)
        measured = {"latency": latency, "qps": self._number(version.qps), "defaults": "", "why": "", "late": False}
        return {**row, **measured, "app": NOTHING if app is None and first else ""}

    def _app_words(self, app: AppFigures) -> Row:
        reasons = [
            self.texts("panel.why", reason=self.texts(f"panel.why_{reason}"), n=count)
            for reason, count in app.reasons.items()
        ]
        return {
            "app": app.name,
            "facts": f"{app.input_type} · SLO {self.texts.duration(app.slo_s)}",
            "latency": self._latencies(app.p50, app.p95, app.p99),
            "late": app.p99 is not None and app.p99 > app.slo_s,
            "qps": self._number(app.qps),
            "defaults": self._share(app.default_share),
            "why": " · ".join(reasons),
        }

    def _state(self, version: VersionFigures, *, asked: bool) -> tuple[str, str]:
        """Return a glyph and a word: never a colour alone. ``asked``: whether an application is linked to the model."""
        if version.observed < version.requested:
            return "◌", self.texts("panel.starting")
        if version.observed > version.requested:
            return "◌", self.texts("panel.stopping")
        if version.requested == 0:
            return "○", self.texts("panel.no_replica")
        if version.errors:
            return "⚠", self.texts("panel.errors", n=version.errors)
        if version.current and not asked:
            return "○", self.texts("panel.not_linked")
        return "●", self.texts("panel.serving" if version.current else "panel.ready")

    def _latencies(self, *values_s: float | None) -> str:
        """Return ``1.2 / 3.4 / 9.9 ms``: one unit for all, the one of the largest."""
        known = [value for value in values_s if value is not None]
        if not known:
            return NOTHING
        scale, unit = next((s, u) for s, u in ((1e6, "µs"), (1e3, "ms"), (1.0, "s")) if max(known) * s < 1e3 or s == 1)
        words = [NOTHING if v is None else self.texts.number(v * scale, _digits(v * scale)) for v in values_s]
        return f"{' / '.join(words)}{self.texts.space}{unit}"

    def _number(self, value: float | None) -> str:
        return NOTHING if value is None else self.texts.number(value, _digits(value))

    def _share(self, value: float | None) -> str:
        if value is None:
            return NOTHING
        percent = self.texts.number(100 * max(value, LEAST_SHARE), ".1f" if value < 0.0995 else ".0f") if value else "0"
        percent = f"<{percent}" if 0 < value < LEAST_SHARE else percent  # a few are not none
        return f"{percent}{self.texts.space}%" if self.texts.language == "fr" else f"{percent}%"


def slo_words(figures: Figures, texts: Texts) -> Mapping[str, tuple[float, str]]:
    """Return each application's SLO, in seconds and in words, for its chart."""
    return {app.name: (app.slo_s, f"SLO {texts.duration(app.slo_s)}") for app in figures.apps}


def _digits(value: float) -> str:
    return ".0f" if abs(value) >= 9.95 or value == 0 else ".1f" if abs(value) >= 0.995 else ".2f"
