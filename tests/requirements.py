"""Features that not every machine has: skip without them, or fail where they are asked for."""

from __future__ import annotations

import os

import pytest


def require(feature: str, available: bool, reason: str) -> None:
    """Skip the test if a feature is missing; fail if the variable CLIPPER_TEST_REQUIRE names it.

    Parameters
    ----------
    feature : str
        "docker", "browser" or "redis"; the variable holds a list with commas.
    available : bool
    reason : str
        What is missing.
    """
    if available:
        return
    if feature in os.environ.get("CLIPPER_TEST_REQUIRE", "").split(","):
        pytest.fail(f"CLIPPER_TEST_REQUIRE asks for {feature}, but {reason}")
    pytest.skip(reason)
