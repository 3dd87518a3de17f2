"""What went wrong in a model: its last exceptions, grouped by where they were raised. Pure: callers pass the time."""

from __future__ import annotations

import traceback
from collections import OrderedDict

import msgspec

CAPACITY = 100
MESSAGE_LENGTH = 500
EXAMPLE_LENGTH = 200


class ModelError(msgspec.Struct):
    """Exceptions of one type that were raised at one place.

    Attributes
    ----------
    type, message : str
        Of the newest of them.
    traceback : str
        Of the newest of them, without the frames of the serving code.
    count : int, >= 1
    first_time_s, last_time_s : float, seconds since the epoch
    example_input : str
        The input that raised the newest of them, shortened.
    """

    type: str
    message: str
    traceback: str
    count: int
    first_time_s: float
    last_time_s: float
    example_input: str


class ErrorLog:
    """The last exceptions of a model, the newest group last.

    Parameters
    ----------
    capacity : int, > 0
        How many groups are kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._groups: OrderedDict[str, ModelError] = OrderedDict()

    def add(self, exc: BaseException, example: object, now_s: float) -> ModelError:
        """Record that ``example`` raised ``exc`` at ``now_s`` (seconds since the epoch); return its group."""
        place = "".join([type(exc).__qualname__, *traceback.format_tb(exc.__traceback__)])
        group = ModelError(
            type=type(exc).__name__,
            message=message_of(exc),
            traceback="".join(traceback.format_exception(exc)),
            count=1,
            first_time_s=now_s,
            last_time_s=now_s,
            example_input=shorten(repr_of(example), EXAMPLE_LENGTH),
        )
        earlier = self._groups.pop(place, None)
        if earlier is not None:
            group.count = earlier.count + 1
            group.first_time_s = earlier.first_time_s
        self._groups[place] = group
        if len(self._groups) > self._capacity:
            self._groups.popitem(last=False)
        return group

    def groups(self) -> list[ModelError]:
        """Return the groups, the one that occurred last at the end."""
        return list(self._groups.values())


def shorten(text: str, length: int) -> str:
    """Return ``text``, cut to ``length`` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def message_of(exc: BaseException) -> str:
    """Return ``str(exc)``, shortened; a user's exception may even fail at that."""
    try:
        return shorten(str(exc), MESSAGE_LENGTH)
    except Exception as broken:
        return f"<its message cannot be shown: {type(broken).__name__}>"


def repr_of(value: object) -> str:
    """Return ``repr(value)``, or why there is none."""
    try:
        return repr(value)
    except Exception as broken:
        return f"<{type(value).__name__} that cannot be shown: {type(broken).__name__}>"
