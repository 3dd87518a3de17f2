"""The four workloads' models, the same code behind every server: a list of inputs in, a list of outputs out.

A server under measurement imports this module by its bare name (``import models``): the directory is on its path.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

Model = Callable[[Sequence[Any]], list[Any]]

WORKLOAD = os.environ.get("WORKLOAD", "w1")
PORT = int(os.environ.get("PORT", "8000"))
PORT2 = int(os.environ.get("PORT2", PORT + 1))  # for a server that must have a second one
MAX_BATCH = 64  # every batching server is set to this ...
MAX_WAIT_MS = 2  # ... and waits no longer than this for a batch to fill
SLOW_BATCH_S = 0.010


def sums(batch: Sequence[Any]) -> list[float]:
    """Add up each input: next to no work, so that what is measured is the server (w1, w2)."""
    return [float(sum(row)) for row in batch]


def slow(batch: Sequence[Any]) -> list[float]:
    """Cost 10 ms a batch whatever its size, without using a core, as an accelerator would (w4)."""
    time.sleep(SLOW_BATCH_S)
    return sums(batch)


def make_forest() -> Model:
    """Return a random forest, 100 trees on 30 features: 3 to 5 ms a call, alone or 64 together (w3)."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    data = load_breast_cancer()
    forest = RandomForestClassifier(n_estimators=100, random_state=0, n_jobs=1).fit(data.data, data.target)
    return lambda batch: [int(label) for label in forest.predict(batch)]


def load(workload: str = WORKLOAD) -> Model:
    """Return the model of ``workload``: w1, w2, w3 or w4."""
    if workload == "w3":
        return make_forest()
    return slow if workload == "w4" else sums
