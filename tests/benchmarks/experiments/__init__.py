"""The experiments: one module each, with the seconds that it takes at most and ``measure(effort) -> figures``."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from tests.benchmarks.comparison import Effort
from tests.benchmarks.figures import Figure

NAMES = (
    "replicas",
    "frontends",
    "growth",
    "zipf_cache",
    "overload",
    "lateness",
    "batching",
    "metrics_cost",
    "panel",
    "docker_rate",
)


class Experiment(Protocol):
    """What each module of this package has.

    Attributes
    ----------
    TITLE : str
        For the heading of its figures.
    """

    TITLE: str

    def measure(self, effort: Effort) -> list[Figure]:
        """Do the experiment."""


def find(name: str) -> Experiment:
    """Return an experiment by its name."""
    return cast(Experiment, import_module(f"{__name__}.{name}"))
