"""Models for the experiments. Each is made by a function, so that it travels to the replicas by value."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Model = Callable[[Any], list[Any]]


def make_sum() -> Model:
    """Return the sum of each input: next to no work."""

    def sums(batch: Any) -> list[float]:
        return list(batch.sum(axis=1).tolist())

    return sums


def make_slow(batch_s: float) -> Model:
    """Return the sum model with a fixed cost a batch, whatever its size, that uses no core."""

    def slow(batch: Any) -> list[float]:
        time.sleep(batch_s)
        return list(batch.sum(axis=1).tolist())

    return slow


def make_silent(silence_s: float) -> Model:
    """Return a model that does not answer in time; the probe of one number, before it serves, costs it nothing."""

    def silent(batch: Any) -> list[float]:
        if batch.shape[1] > 1:
            time.sleep(silence_s)
        return [0.0] * len(batch)

    return silent


def make_forest() -> Model:
    """Return w3's random forest: about 2 ms a call, alone or 64 together."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    data = load_breast_cancer()
    trained = RandomForestClassifier(n_estimators=100, random_state=0, n_jobs=1).fit(data.data, data.target)

    def forest(batch: Any) -> list[int]:
        # The replica's probe has one column; the model has thirty.
        if batch.shape[1] != trained.n_features_in_:
            return [0] * len(batch)
        return [int(label) for label in trained.predict(batch)]

    return forest
