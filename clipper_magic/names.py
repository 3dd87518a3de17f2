"""Names of models and versions: Clipper's rule, and the nearest name that keeps it. Pure."""

from __future__ import annotations

import re

from clipper_magic.exceptions import InputTypeError, InvalidNameError
from serving_image.errors import ServingError
from serving_image.input_types import canonical

# ucbrise/clipper, clipper_admin.py: deploy_regex_str. A part of an image name, hence so strict.
DEPLOYABLE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")


def suggest_name(value: str) -> str:
    """Return the nearest legal name; ``"model"`` if nothing of it can be kept."""
    lowered = re.sub(r"[^a-z0-9]+", "-", value.lower())
    return lowered.strip("-") or "model"


def check_deployable(name: str, version: object) -> str:
    """Check the name and version of a model that gets an image; return the version as text.

    Raises
    ------
    InvalidNameError
        With Clipper's text as ``msg`` and the nearest legal name.
    """
    for code, value in (("bad-model-name", name), ("bad-model-version", str(version))):
        if not DEPLOYABLE.match(value):
            raise InvalidNameError.of(code, value=value, suggestion=suggest_name(value))
    return str(version)


def check_input_type(input_type: str) -> str:
    """Return the canonical name of an input type.

    Raises
    ------
    InputTypeError
        If there is no such type.
    """
    try:
        return canonical(input_type)
    except ServingError as err:
        raise InputTypeError.of("bad-input-type-name", value=input_type) from err
