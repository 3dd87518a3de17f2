"""What the frontends tell, as figures: rates from differences, the last minute of each application. Pure."""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any, TypeAlias

from clipper_magic.metrics_reader import Metrics

POINTS = 120
CURVES = ("p50", "p95", "p99", "qps")
RATE_WINDOW_S = 2.0
REASONS = ("no_replicas", "deadline", "model_error", "replica_failure")


@dataclass(frozen=True)
class VersionFigures:
    """One model version at one moment; a figure that nobody measured is None.

    ``requested`` replicas are registered (or asked for by a button), ``observed`` ones were seen to answer.
    Latencies are in seconds, shares in [0, 1].
    """

    model: str
    version: str
    current: bool
    requested: int
    observed: int
    errors: int
    qps: float | None
    batch: float | None
    cache_hits: float | None
    p50: float | None
    p95: float | None
    p99: float | None

    @property
    def key(self) -> str:
        """``model:version``."""
        return f"{self.model}:{self.version}"


@dataclass(frozen=True)
class AppFigures:
    """One application at one moment; see `VersionFigures`. ``reasons`` counts default outputs by reason."""

    name: str
    input_type: str
    slo_s: float
    model: str | None
    predictions: int
    qps: float | None
    default_share: float | None
    reasons: Mapping[str, int]
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Figures:
    """A cluster at one moment."""

    cluster: str
    apps: tuple[AppFigures, ...]
    versions: tuple[VersionFigures, ...]


def app_to_show(figures: Figures, shown: str, *, chosen: bool) -> str:
    """Return the application whose chart is shown: the one before, unless another one is asked and it is not.

    Parameters
    ----------
    figures : Figures
    shown : str
        The one before; "" for none.
    chosen : bool
        Whether somebody chose it: then it stays as long as it is there.
    """
    before = next((app for app in figures.apps if app.name == shown), None)
    busiest = max(figures.apps, key=lambda app: (app.qps or 0.0, app.predictions), default=None)
    if before and (chosen or before.qps or not (busiest and busiest.qps)):
        return shown
    return busiest.name if busiest else ""


@dataclass
class _Counted:
    """The newest values of a counter, to tell its rate over a short window."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    def rate(self, now_s: float, count: float) -> float | None:
        """Return events a second since the oldest value that is at most ``RATE_WINDOW_S`` old."""
        if self.seen and count < self.seen[-1][1]:
            self.seen.clear()  # the frontend was restarted
        self.seen.append((now_s, count))
        while len(self.seen) > 2 and self.seen[1][0] <= now_s - RATE_WINDOW_S:
            self.seen.pop(0)
        then_s, before = self.seen[0]
        elapsed_s = now_s - then_s
        return (count - before) / elapsed_s if elapsed_s > 0 else None


_Curve: TypeAlias = deque[float]


def _empty_curves() -> tuple[_Curve, ...]:
    return tuple(deque([nan] * POINTS, POINTS) for _ in CURVES)


class History:
    """Makes figures of the frontends' answers, and keeps the curves of each application.

    Notes
    -----
    A point of a curve is nan while the application answered nothing: the histograms keep their newest values, and a
    line that goes on would say that somebody still asks.
    """

    def __init__(self) -> None:
        self._counted: dict[str, _Counted] = {}
        self._curves: dict[str, tuple[_Curve, ...]] = {}

    def add(
        self,
        status: Mapping[str, Any],
        metrics: Mapping[str, Any],
        observed: Mapping[str, int] | None,
        asked: Mapping[str, int],
        now_s: float,
    ) -> Figures:
        """Return the figures of now.

        Parameters
        ----------
        status : mapping
            Answer of ``/admin/get_status``.
        metrics : mapping
            Answer of the query frontend's ``/metrics``.
        observed : mapping of "model:version" to int
            Replicas that were seen to answer; None if nobody looked.
        asked : mapping of "model:version" to int
            Replicas that a button has just asked for.
        now_s : float
            Any monotonic clock.
        """
        measured = Metrics(metrics)
        apps = tuple(self._app(app, measured, now_s) for app in status["applications"])
        versions = tuple(
            self._version(model["model_name"], version, measured, observed, asked, now_s)
            for model in status["models"]
            for version in model["versions"]
        )
        names = {app.name for app in apps}
        self._curves = {name: curves for name, curves in self._curves.items() if name in names}
        return Figures(str(status["cluster"]), apps, versions)

    def curves(self, app: str) -> bytes:
        """Return the last minute of an application: ``CURVES`` x ``POINTS`` little-endian float32, oldest first."""
        points = array("f")
        for curve in self._curves.get(app) or _empty_curves():
            points.extend(curve)
        if sys.byteorder == "big":
            points.byteswap()
        return points.tobytes()

    def asked_lately(self, app: str) -> bool:
        """Return whether an application has answered anything in the last minute."""
        return app in self._curves and not all(map(isnan, self._curves[app][0]))

    def _rate(self, name: str, count: float | None, now_s: float) -> float | None:
        return None if count is None else self._counted.setdefault(name, _Counted()).rate(now_s, count)

    def _app(self, app: Mapping[str, Any], metrics: Metrics, now_s: float) -> AppFigures:
        name = str(app["name"])
        prefix = f"app:{name}:"
        predictions = metrics.value(f"{prefix}num_predictions", "count") or 0.0
        qps = self._rate(prefix, predictions, now_s)
        latencies = [metrics.latency_s("app", name, leaf) for leaf in CURVES[:3]]
        self._remember(name, [*latencies, qps], answered=bool(qps))
        reasons = {reason: metrics.value(f"{prefix}{reason}:num_defaults_by_reason", "count") for reason in REASONS}
        defaults = metrics.value(f"{prefix}num_defaults", "count") or 0.0
        return AppFigures(
            name=name,
            input_type=str(app["input_type"]),
            slo_s=app["latency_slo_micros"] / 1e6,
            model=next(iter(app["linked_models"]), None),
            predictions=int(predictions),
            qps=qps,
            default_share=defaults / predictions if predictions else None,
            reasons={reason: int(count) for reason, count in reasons.items() if count},
            p50=latencies[0],
            p95=latencies[1],
            p99=latencies[2],
        )

    def _remember(self, name: str, values: list[float | None], *, answered: bool) -> None:
        *latencies, rate = self._curves.setdefault(name, _empty_curves())
        for curve, value in zip(latencies, values, strict=False):
            curve.append(nan if value is None or not answered else value)
        rate.append(values[-1] or 0.0)  # nothing asked is a rate, too

    def _version(
        self,
        model: str,
        version: Mapping[str, Any],
        metrics: Metrics,
        observed: Mapping[str, int] | None,
        asked: Mapping[str, int],
        now_s: float,
    ) -> VersionFigures:
        key = f"{model}:{version['model_version']}"
        prefix = f"model:{key}:"
        lookups = metrics.value(f"{prefix}num_cache_lookups", "count")
        hits = metrics.value(f"{prefix}num_cache_hits", "count") or 0.0
        answers = (metrics.value(f"{prefix}num_predictions", "count") or 0.0) + hits
        batches = metrics.value(f"{prefix}batch_size", "size")
        registered = len(version["replicas"])
        return VersionFigures(
            model=model,
            version=str(version["model_version"]),
            current=bool(version["is_current_version"]),
            requested=asked.get(key, registered),
            observed=registered if observed is None else observed.get(key, 0),
            errors=int(metrics.value(f"{prefix}num_model_errors", "count") or 0),
            qps=self._rate(prefix, answers, now_s),
            batch=metrics.value(f"{prefix}batch_size", "mean") if batches else None,
            cache_hits=hits / lookups if lookups else None,
            p50=metrics.latency_s("model", key, "p50"),
            p95=metrics.latency_s("model", key, "p95"),
            p99=metrics.latency_s("model", key, "p99"),
        )
