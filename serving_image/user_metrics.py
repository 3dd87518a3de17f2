"""Metrics of a model function's own, as in Clipper: added by name, reported by name, shown by the replica's /metrics.

Model functions know this module as ``clipper_magic.metrics``. A container has no clipper_magic, so a replica lends
that name to this module (`provide_kernel_name`).
"""

from __future__ import annotations

import re
import sys
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from itertools import accumulate
from math import inf, isinf, isnan
from types import MappingProxyType
from typing import Protocol

DEFAULT_BUCKETS = (5, 10, 20, 35, 50, 75, 100, 150, 200, 250, 300, 400, 500, inf)
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
OWN_PREFIX = "clipper_mc_"  # what the replica itself measures


class ClipperException(Exception):
    """A metric that cannot be added or reported; has the name that model functions know from Clipper."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


class Metric(Protocol):
    """What all types of metrics can do."""

    def report(self, value: float) -> None:
        """Take a value."""

    def samples(self) -> Iterator[tuple[str, float]]:
        """Yield the samples: what stands behind the metric's name (a suffix, labels), and a number."""


class Gauge:
    """The last value."""

    def __init__(self) -> None:
        self._value = 0.0

    def report(self, value: float) -> None:
        """Take a value."""
        self._value = value

    def samples(self) -> Iterator[tuple[str, float]]:
        """Yield the value."""
        yield "", self._value


class Counter:
    """The sum of values that are not negative."""

    def __init__(self) -> None:
        self._value = 0.0

    def report(self, value: float) -> None:
        """Add a value."""
        if value < 0:
            raise ClipperException("Counters can only be incremented by non-negative amounts.")
        self._value += value

    def samples(self) -> Iterator[tuple[str, float]]:
        """Yield the sum."""
        yield "_total", self._value


class Summary:
    """How many values there were, and their sum."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0

    def report(self, value: float) -> None:
        """Add a value."""
        self._count += 1
        self._sum += value

    def samples(self) -> Iterator[tuple[str, float]]:
        """Yield number and sum."""
        yield "_count", self._count
        yield "_sum", self._sum


class Histogram(Summary):
    """A summary that also knows how many values were at most as large as each of its buckets.

    Parameters
    ----------
    buckets : sequence of float
        Upper bounds; the last one, infinity, may be left out.
    """

    def __init__(self, buckets: Sequence[float]) -> None:
        super().__init__()
        self._bounds = sorted({*map(float, buckets), inf})
        self._counts = [0] * len(self._bounds)

    def report(self, value: float) -> None:
        """Add a value."""
        super().report(value)
        if not isnan(value):
            self._counts[bisect_left(self._bounds, value)] += 1

    def samples(self) -> Iterator[tuple[str, float]]:
        """Yield the buckets, then number and sum."""
        for bound, count in zip(self._bounds, accumulate(self._counts), strict=True):
            yield f'_bucket{{le="{_number(bound)}"}}', count
        yield from super().samples()


METRIC_TYPES: Mapping[str, Callable[[Sequence[float]], Metric]] = MappingProxyType(
    {
        "Gauge": lambda _: Gauge(),
        "Counter": lambda _: Counter(),
        "Histogram": Histogram,
        "Summary": lambda _: Summary(),
    }
)


class Entry:
    """A metric with what `add_metric` was told about it.

    Attributes
    ----------
    metric : Metric
    """

    def __init__(self, metric_type: str, description: str, buckets: Sequence[float]) -> None:
        self._type = metric_type
        self._description = description.replace("\\", r"\\").replace("\n", r"\n")
        self._buckets = tuple(buckets)
        self.start_over()

    def start_over(self) -> None:
        """Forget what was reported."""
        self.metric = METRIC_TYPES[self._type](self._buckets)

    def lines(self, name: str) -> Iterator[str]:
        """Yield the lines of Prometheus' text format."""
        family = name
        if self._type == "Counter":  # Prometheus wants the suffix, and wants it once
            name = name.removesuffix("_total")
            family = f"{name}_total"
        yield f"# HELP {family} {self._description}"
        yield f"# TYPE {family} {self._type.lower()}"
        for suffix, value in self.metric.samples():
            yield f"{name}{suffix} {_number(value)}"


class UserMetrics:
    """The metrics of a model function, by name. Threads of the function may report at one time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, metric_type: str, description: str, buckets: Sequence[float]) -> None:
        """Add a metric, unless there is one of this name."""
        if metric_type not in METRIC_TYPES:
            raise ClipperException(f"Metric type needs to be one of {list(METRIC_TYPES)}")
        if not NAME.fullmatch(name) or name.startswith(OWN_PREFIX):
            raise ClipperException(
                f"'{name}' cannot be the name of a metric: letters, digits, '_' and ':', no digit first, "
                f"not beginning with {OWN_PREFIX}"
            )
        with self._lock:
            if name not in self._entries:
                self._entries[name] = Entry(metric_type, description, buckets)

    def report(self, name: str, val: float) -> None:
        """Give a metric a value, or what ``float`` makes one of."""
        value = float(val)
        with self._lock:
            if name not in self._entries:
                raise ClipperException(
                    f"{name} has not been added. Please use clipper_magic.metrics.add_metric to add this metric"
                )
            self._entries[name].metric.report(value)

    def start_over(self) -> None:
        """Forget what was reported, but not which metrics there are."""
        with self._lock:
            for entry in self._entries.values():
                entry.start_over()

    def prometheus(self) -> bytes:
        """Return the text format of Prometheus, version 0.0.4."""
        with self._lock:
            return "".join(f"{line}\n" for name, entry in self._entries.items() for line in entry.lines(name)).encode()


def _number(value: float) -> str:
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if isnan(value) else repr(float(value))


@cache
def of_this_process() -> UserMetrics:
    """Return the metrics of this process: a replica runs one model, and Clipper's functions name no other owner."""
    return UserMetrics()


def add_metric(name: str, metric_type: str, description: str, buckets: Sequence[float] = DEFAULT_BUCKETS) -> None:
    """Add a metric to those that ``GET /metrics`` of the replica shows; see ``clipper_magic.metrics.add_metric``."""
    of_this_process().add(name, metric_type, description, buckets)


def report_metric(name: str, val: float) -> None:
    """Report a value of a metric; see ``clipper_magic.metrics.report_metric``."""
    of_this_process().report(name, val)


def provide_kernel_name() -> None:
    """Let ``import clipper_magic.metrics`` find this module where clipper_magic is not installed."""
    if find_spec("clipper_magic") is not None:
        return
    package = module_from_spec(ModuleSpec("clipper_magic", None, is_package=True))
    vars(package)["metrics"] = this = sys.modules[__name__]
    sys.modules["clipper_magic"], sys.modules["clipper_magic.metrics"] = package, this
