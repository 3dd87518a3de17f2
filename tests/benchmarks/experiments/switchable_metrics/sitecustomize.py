"""On the path of a cluster's processes, this makes the metrics of the predict path a thing to switch off and on again.

A process that gets ``SIGUSR1`` leaves out each statement that adds to a counter (``….count += n``) or gives a histogram
a value (``….record(…)``), with the work of their arguments: what is left is the path as it would be had nobody thought
of metrics. ``SIGUSR2`` brings them back. It is one process, with one layout in memory: between two processes of the
same program that alone makes a difference of several percent.
"""

from __future__ import annotations

import ast
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

MODULES = {f"serving_image.{name}" for name in ("endpoint", "dispatcher", "serving_metrics", "model_replica")}


class _WithoutMetrics(ast.NodeTransformer):
    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        counts = isinstance(node.target, ast.Attribute) and node.target.attr == "count"
        return ast.copy_location(ast.Pass(), node) if counts else node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        called = node.value.func if isinstance(node.value, ast.Call) else None
        records = isinstance(called, ast.Attribute) and called.attr == "record"
        return ast.copy_location(ast.Pass(), node) if records else node


class _Switch:
    """The functions of the predict path, each with the code that counts and the code that does not."""

    def __init__(self) -> None:
        self._functions: list[tuple[FunctionType, CodeType, CodeType]] = []
        signal.signal(signal.SIGUSR1, lambda *_: self.turn(is_on=False))
        signal.signal(signal.SIGUSR2, lambda *_: self.turn(is_on=True))

    def add(self, module: ModuleType, plain: CodeType) -> None:
        """Add the functions of ``module``, of which ``plain`` is the code without metrics."""
        codes = {code.co_qualname: code for code in _codes(plain)}
        for owner in (module, *(value for value in vars(module).values() if isinstance(value, type))):
            for function in vars(owner).values():
                if isinstance(function, FunctionType) and function.__code__.co_filename == plain.co_filename:
                    self._functions.append((function, function.__code__, codes[function.__code__.co_qualname]))

    def turn(self, *, is_on: bool) -> None:
        """Turn the metrics on or off."""
        for function, counting, plain in self._functions:
            function.__code__ = counting if is_on else plain


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, switch: _Switch) -> None:
        super().__init__(fullname, path)
        self._switch = switch

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        tree = _WithoutMetrics().visit(ast.parse(self.get_data(self.path)))
        self._switch.add(module, compile(tree, self.path, "exec", dont_inherit=True))


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self._switch = _Switch()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname not in MODULES:
            return None
        spec: ModuleSpec | None = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self._switch)
        return spec


sys.meta_path.insert(0, _Finder())
