"""Metrics of a model function's own, shown by its replicas' ``/metrics`` in Prometheus' format.

>>> from clipper_magic import metrics
>>> def lengths(texts):
...     metrics.add_metric("longest_text", "Gauge", "Length of the longest text of the last batch")
...     metrics.report_metric("longest_text", max(map(len, texts)))
...     return [len(text) for text in texts]

A function may call these wherever it runs: in a replica without clipper_magic, this module's name belongs to
``serving_image.user_metrics``, which has the same two functions. In the kernel the values go nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from clipper_magic.exceptions import ClipperException
from serving_image import user_metrics
from serving_image.user_metrics import DEFAULT_BUCKETS

__all__ = ["DEFAULT_BUCKETS", "add_metric", "report_metric"]


def add_metric(name: str, metric_type: str, description: str, buckets: Sequence[float] = DEFAULT_BUCKETS) -> None:
    """Add a metric to those that ``GET /metrics`` of the replica shows to Prometheus.

    Parameters
    ----------
    name : str
        As Prometheus names metrics. If there is one of this name, nothing happens.
    metric_type : str
        "Gauge" (the last value), "Counter" (the sum), "Histogram" (counts by size) or "Summary" (number and sum).
    description : str
    buckets : sequence of float
        Upper bounds of a histogram's buckets, in the unit of its values.

    Raises
    ------
    ClipperException
        If there is no such type, or the name is no name of a metric.
    """
    with _clippers_exception():
        user_metrics.add_metric(name, metric_type, description, buckets)


def report_metric(name: str, val: float) -> None:
    """Report a value of a metric.

    Parameters
    ----------
    name : str
        Of a metric that was added.
    val : float
        Or what ``float`` makes one of.

    Raises
    ------
    ClipperException
        If there is no such metric, or a counter would go down.
    """
    with _clippers_exception():
        user_metrics.report_metric(name, val)


@contextmanager
def _clippers_exception() -> Iterator[None]:
    """Raise this package's exception for the one of the serving side, which knows nothing of this package."""
    try:
        yield
    except user_metrics.ClipperException as err:
        raise ClipperException(err.msg) from None
