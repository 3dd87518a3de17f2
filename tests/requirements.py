"""Features that not every machine has: skip without them, or fail where they are asked for."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def require(feature: str, available: bool, reason: str) -> None:
    """Skip the test if a feature is missing; fail if the variable CLIPPER_TEST_REQUIRE names it.

    Parameters
    ----------
    feature : str
        "docker", "browser", "redis" or "frameworks"; the variable holds a list with commas.
    available : bool
    reason : str
        What is missing.
    """
    if available:
        return
    if feature in os.environ.get("CLIPPER_TEST_REQUIRE", "").split(","):
        pytest.fail(f"CLIPPER_TEST_REQUIRE asks for {feature}, but {reason}")
    pytest.skip(reason)


def require_modules(*names: str) -> None:
    """Skip the test if one of these modules of machine-learning frameworks is not installed; see `require`."""
    for name in names:
        require("frameworks", find_spec(name) is not None, f"{name} is not installed")
