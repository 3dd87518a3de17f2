"""Find which object keeps a function from being pickled, and the name that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

import cloudpickle

MAX_DEPTH = 8


class Culprit(NamedTuple):
    """The innermost object that cannot be pickled: how the function reaches it, and why it cannot."""

    path: str
    value: object
    reason: str

    def __str__(self) -> str:
        return f"'{self.path}' (of type {type(self.value).__name__})" if self.path else "the object itself"


def pickle_error(value: object) -> Exception | None:
    """Return what pickling ``value`` raises, or None."""
    try:
        cloudpickle.dumps(value)
    except Exception as err:  # a user's __reduce__ may raise anything
        return err
    return None


def find_culprit(function: Callable[..., Any], error: Exception) -> Culprit:
    """Return the innermost object that cannot be pickled.

    Parameters
    ----------
    function : callable
        What could not be pickled.
    error : Exception
        What pickling it raised.
    """
    culprit, seen = Culprit("", function, _text(error)), {id(function)}
    for _ in range(MAX_DEPTH):
        for name, value in _parts(culprit.value):
            inner = None if id(value) in seen else pickle_error(value)
            if inner is not None:
                seen.add(id(value))
                culprit = Culprit(_joined(culprit.path, name), value, _text(inner))
                break
        else:
            return culprit
    return culprit


def _joined(path: str, name: str) -> str:
    return f"{path}{name}" if path else name.lstrip(".")


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield what pickling ``value`` would pickle inside it, with how to write it."""
    if isinstance(value, MethodType):
        yield ".__self__", value.__self__
        yield "", value.__func__
    elif isinstance(value, partial):
        yield from ((f".args[{i}]", argument) for i, argument in enumerate(value.args))
        yield from ((f".keywords[{name!r}]", argument) for name, argument in value.keywords.items())
        yield ".func", value.func
    elif isinstance(value, FunctionType):
        yield from _variables(value)
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{i}]", item) for i, item in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("{…}", item) for item in value)
    elif isinstance(getattr(value, "__dict__", None), dict):
        yield from ((f".{name}", item) for name, item in vars(value).items())


def _variables(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield the variables that a function takes along: closure, globals that its code names, defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".{name}", cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield f".{name}", function.__globals__[name]
    for index, default in enumerate(function.__defaults__ or ()):
        yield f".__defaults__[{index}]", default


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*(_names(constant) for constant in inner))
