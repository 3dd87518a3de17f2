"""Counters, ratios, meters and histograms, in Clipper's JSON and as Prometheus text.

Made for a predict path that has microseconds: counting is an addition to a plain attribute, a histogram keeps its
newest samples, and everything else is worked out when somebody looks.

Names are Clipper's: ``internal:NAME``, ``app:APP:NAME``, ``model:MODEL:VERSION:NAME``. Neither applications nor models
may have a colon in their names.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from math import exp, fsum, isnan, nan, sqrt
from typing import Protocol

import msgspec

SAMPLES = 1024  # newest samples that a histogram shows: p99 from ten above it
SPARE = 256  # samples that it keeps beyond them before it forgets some
TICK_S = 5.0  # how often the rates of meters move
WINDOWS_MIN = (1, 5, 15)
QUANTILES = (0.5, 0.95, 0.99)
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
EXPORTED_KINDS = frozenset({"internal", "app", "model"})  # what Clipper's query frontend measures


class Counter:
    """A number of events. The predict path adds to ``count`` itself."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Counted(Protocol):
    """What has a count: a counter, or the total of some."""

    @property
    def count(self) -> int:
        """How many events there were."""


class Total:
    """The sum of counters, so that the predict path adds to one of them instead of to two."""

    def __init__(self) -> None:
        self._parts: set[Counter] = set()
        self._gone = 0

    @property
    def count(self) -> int:
        """The events of all its counters, also of those that are gone."""
        return self._gone + sum(part.count for part in self._parts)

    def add(self, part: Counter) -> None:
        """Add a counter; nothing if it is there."""
        self._parts.add(part)

    def drop(self, part: Counter) -> None:
        """Keep what a counter has counted, and follow it no more."""
        if part in self._parts:
            self._parts.discard(part)
            self._gone += part.count


class RatioCounter:
    """How many of the events of one counter are those of another."""

    def __init__(self, part: Counted, whole: Counted) -> None:
        self._part = part
        self._whole = whole

    @property
    def ratio(self) -> float:
        """The ratio in [0, 1], nan while nothing happened."""
        return self._part.count / self._whole.count if self._whole.count else nan


class Meter:
    """The rate of a counter: over its life, and as moving averages over 1, 5 and 15 minutes.

    Rates are in events per second, as Unix' load averages are: exponentially weighted, moved every ``TICK_S``.
    """

    def __init__(self, counter: Counted, now: float) -> None:
        self._counter = counter
        self._started = self._ticked = now
        self._seen = counter.count
        self._rates: list[float] | None = None  # until the first tick there is no rate to average

    def tick(self, now: float) -> None:
        """Move the averages up to `now`, in steps of ``TICK_S``."""
        steps = int((now - self._ticked) / TICK_S)
        if steps < 1:
            return
        recent = (self._counter.count - self._seen) / (steps * TICK_S)
        self._seen = self._counter.count
        self._ticked += steps * TICK_S
        if self._rates is None:
            self._rates = [recent] * len(WINDOWS_MIN)
            return
        for i, minutes in enumerate(WINDOWS_MIN):
            keep = exp(-steps * TICK_S / (60 * minutes))
            self._rates[i] = keep * self._rates[i] + (1 - keep) * recent

    def rates(self, now: float) -> list[float]:
        """Return the rate over the meter's life, then over 1, 5 and 15 minutes."""
        life_s = now - self._started
        mean = self._counter.count / life_s if life_s > 0 else 0.0
        return [mean, *(self._rates or [mean] * len(WINDOWS_MIN))]


class Histogram:
    """The distribution of the newest ``SAMPLES`` values, and the sum and number of all.

    Parameters
    ----------
    unit : str
        As Clipper prints it: ``microseconds`` or ``queries``.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        # Numbers, not float objects: those would stay scattered over more memory than the processor's first cache has,
        # and the predict path would find its own out of it.
        self._values = array("d")
        self._older = 0
        self._older_total = 0.0

    @property
    def count(self) -> int:
        """How many values there were."""
        return self._older + len(self._values)

    @property
    def total(self) -> float:
        """The sum of all values."""
        return self._older_total + fsum(self._values)

    def record(self, value: float) -> None:
        """Add a value."""
        values = self._values
        values.append(value)
        if len(values) >= SAMPLES + SPARE:
            self._forget()

    def _forget(self) -> None:
        """Keep the newest values; of the others their number and sum."""
        older = self._values[:-SAMPLES]
        self._older += len(older)
        self._older_total += fsum(older)
        del self._values[:-SAMPLES]

    def summary(self) -> dict[str, float]:
        """Return size, min, max, mean, std_dev, p50, p95 and p99 of the newest values; zeros if there are none."""
        samples = sorted(self._values[-SAMPLES:])
        n = len(samples)
        if not n:
            return dict.fromkeys(("size", "min", "max", "mean", "std_dev", "p50", "p95", "p99"), 0.0)
        mean = fsum(samples) / n
        spread = sqrt(fsum((value - mean) ** 2 for value in samples) / n)
        found = {"size": float(n), "min": samples[0], "max": samples[-1], "mean": mean, "std_dev": spread}
        for q in QUANTILES:
            found[f"p{q * 100:.0f}"] = samples[min(n - 1, int(q * n))]
        return found


class Registry:
    """All metrics of one process, by name.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counters: dict[str, Counter] = {}
        self._totals: dict[str, Total] = {}
        self._ratios: dict[str, RatioCounter] = {}
        self._meters: dict[str, Meter] = {}
        self._histograms: dict[str, Histogram] = {}

    def counter(self, name: str) -> Counter:
        """Return the counter of this name, made at the first call."""
        return self._counters.setdefault(name, Counter())

    def total(self, name: str) -> Total:
        """Return the total of this name, made at the first call; it is shown as a counter."""
        return self._totals.setdefault(name, Total())

    def ratio(self, name: str, part: Counted, whole: Counted) -> None:
        """Show the ratio of two counters under this name."""
        self._ratios[name] = RatioCounter(part, whole)

    def meter(self, name: str, counter: Counted) -> None:
        """Show the rate of a counter under this name."""
        self._meters.setdefault(name, Meter(counter, self._clock()))

    def histogram(self, name: str, unit: str) -> Histogram:
        """Return the histogram of this name, made at the first call."""
        return self._histograms.setdefault(name, Histogram(unit))

    def remove(self, prefix: str) -> None:
        """Forget the metrics of an application or a model version that is gone; totals keep what they counted."""
        for counter in [counter for name, counter in self._counters.items() if name.startswith(prefix)]:
            for total in self._totals.values():
                total.drop(counter)
        for table in (self._counters, self._ratios, self._meters, self._histograms):
            for name in [name for name in table if name.startswith(prefix)]:
                del table[name]

    def tick(self) -> None:
        """Move the meters; to be called every few seconds."""
        now = self._clock()
        for meter in self._meters.values():
            meter.tick(now)

    # ---- what it looks like

    def json(self) -> bytes:
        """Return Clipper's JSON: four lists of one-key objects, and every leaf a string."""
        return msgspec.json.encode(self._tables())

    def _tables(self) -> dict[str, list[dict[str, dict[str, str]]]]:
        now = self._clock()
        rate_names = ("rate", *(f"rate_{minutes}min" for minutes in WINDOWS_MIN))
        meters = [
            {name: {"unit": "events per second"} | _texts(dict(zip(rate_names, meter.rates(now), strict=True)))}
            for name, meter in self._meters.items()
        ]
        histograms = [
            {name: {"unit": histogram.unit} | _texts(histogram.summary())}
            for name, histogram in self._histograms.items()
        ]
        return {
            "counters": [{name: {"count": str(c.count)}} for name, c in self._all_counters()],
            "ratio_counters": [{name: _texts({"ratio": r.ratio})} for name, r in self._ratios.items()],
            "meters": meters,
            "histograms": histograms,
        }

    def prometheus(self) -> bytes:
        """Return the text format of Prometheus, version 0.0.4; application, model and version are labels.

        Behind these follow the gauges of Clipper's exporter, which dashboards of its users name.
        """
        families: dict[str, list[str]] = {}
        for kind, family, labels, value in self._samples():
            lines = families.setdefault(family, [f"# TYPE {family} {kind}"])
            suffix = labels.pop("__suffix__", "")
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(f"{family}{suffix}{{{inside}}} {'NaN' if isnan(value) else repr(float(value))}")
        for name, value in self._exported().items():
            families[name] = [f"# TYPE {name} gauge", f"{name} {'NaN' if isnan(value) else repr(value)}"]
        return "".join(line + "\n" for lines in families.values() for line in lines).encode()

    def _all_counters(self) -> Iterator[tuple[str, Counted]]:
        yield from self._totals.items()
        yield from self._counters.items()

    def _exported(self) -> dict[str, float]:
        """Return what Clipper's exporter makes of the JSON, such as ``app_hello_world_prediction_latency_p99``.

        Two names of ours may become one there; then the first is kept, as Prometheus refuses a page with both.
        """
        exported: dict[str, float] = {}
        entries = [item for table in self._tables().values() for entry in table for item in entry.items()]
        for name, leaves in entries:
            if name.partition(":")[0] in EXPORTED_KINDS:
                for leaf, text in leaves.items():
                    if leaf != "unit":
                        exported.setdefault(re.sub(r"[^a-zA-Z0-9_]", "_", f"{name}_{leaf}"), float(text))
        return exported

    def _samples(self) -> Iterator[tuple[str, str, dict[str, str], float]]:
        now = self._clock()
        for name, counter in self._all_counters():
            family, labels = _family(name)
            yield "counter", f"{family}_total", labels, counter.count
        for name, ratio in self._ratios.items():
            yield "gauge", *_family(name), ratio.ratio
        for name, meter in self._meters.items():
            for window, rate in zip(("life", *(f"{m}m" for m in WINDOWS_MIN)), meter.rates(now), strict=True):
                family, labels = _family(name)
                yield "gauge", family, {**labels, "window": window}, rate
        for name, histogram in self._histograms.items():
            family, labels = _family(name)
            family = f"{family}_{histogram.unit}"
            summary = histogram.summary()
            for q in QUANTILES:
                yield "summary", family, {**labels, "quantile": str(q)}, summary[f"p{q * 100:.0f}"]
            yield "summary", family, {**labels, "__suffix__": "_sum"}, histogram.total
            yield "summary", family, {**labels, "__suffix__": "_count"}, histogram.count


def wants_prometheus(accept: str) -> bool:
    """Return whether a client with this ``Accept`` header gets Prometheus text rather than JSON."""
    return "text/plain" in accept or "openmetrics" in accept


def _texts(values: dict[str, float]) -> dict[str, str]:
    return {key: str(int(v)) if key == "size" else "nan" if isnan(v) else str(v) for key, v in values.items()}


def _family(name: str) -> tuple[str, dict[str, str]]:
    """Split ``app:hello:num_predictions`` into ``clipper_app_num_predictions`` and the label ``app="hello"``."""
    kind, *names, last = name.split(":")
    keys = {"app": ("app", "reason"), "model": ("model_name", "model_version", "reason")}.get(kind, ())
    return f"clipper_{kind}_{last}", dict(zip(keys, names, strict=False))


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
