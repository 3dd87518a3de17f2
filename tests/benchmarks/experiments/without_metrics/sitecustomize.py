"""On the path of a cluster's processes, this takes the metrics out of the predict path as it is imported.

Statements that add to a counter (``….count += n``) or give a histogram a value (``….record(…)``) are left out, with
the work of their arguments: what is left is the path as it would be had nobody thought of metrics.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
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


class _Loader(SourceFileLoader):
    """Compiles from the source each time: cached bytecode has the metrics in it."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _WithoutMetrics().visit(ast.parse(self.get_data(path)))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname not in MODULES:
            return None
        spec: ModuleSpec | None = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder())
