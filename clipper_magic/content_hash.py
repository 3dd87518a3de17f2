"""A short hash of what a function is, equal for the same text in another kernel.

Two pickles of one function differ where nothing matters: the name of the temporary file of its notebook cell, its
line in the cell, the random ids that cloudpickle gives to classes. The hash leaves these out, so "Run All" twice,
or after a restart, finds that there is nothing to deploy.
"""

from __future__ import annotations

import hashlib
import io
import types
from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import cloudpickle
from cloudpickle import cloudpickle as internals

LABEL_PREFIX = "content-"


def _placeless(code: types.CodeType) -> tuple[Any, ...]:
    """Reduce a code object without its file and line."""
    reduce = cloudpickle.Pickler.dispatch_table[types.CodeType]
    return tuple(reduce(code.replace(co_filename="", co_firstlineno=1)))


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _placeless}, cloudpickle.Pickler.dispatch_table)


def content_label(function: Callable[..., object], *settings: object) -> str:
    """Return a label, ``content-`` and 16 hexadecimal digits, for a function and what it is deployed with.

    Parameters
    ----------
    function : callable
    *settings : object
        What else makes a difference (input type, packages); compared by ``repr``.

    Returns
    -------
    str
        Empty if the function cannot be pickled: nothing equals it.
    """
    from clipper_magic.model_package import local_modules_by_value

    stream = io.BytesIO()
    try:
        with local_modules_by_value():
            _Pickler(stream).dump(function)
    except Exception:  # whatever an object's own __reduce__ raises
        return ""
    data = stream.getvalue()
    for tracker_id in list(internals._DYNAMIC_CLASS_TRACKER_BY_CLASS.values()):
        data = data.replace(tracker_id.encode(), b"")
    data += repr(settings).encode()
    return LABEL_PREFIX + hashlib.sha256(data).hexdigest()[:16]


def content_of(labels: Sequence[str]) -> str:
    """Return the content label among a version's labels, or an empty text."""
    return next((label for label in labels if label.startswith(LABEL_PREFIX)), "")
