"""Run the cell of ``%%clipper_deploy`` and choose the function in it that becomes the model."""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Callable
from typing import Any

from clipper_magic.commands.grammar import nearest
from clipper_magic.exceptions import ClipperUsageError

_FILE = re.compile(r'File "(?P<file>[^"]+)", line')


def run_cell(shell: Any, cell: str) -> list[str]:
    """Execute a cell in the user's namespace; return the names of the functions that it defines at its top level.

    The source is registered under the cell's own file name, so that tracebacks show its lines, in the kernel and,
    shipped with the model, in a replica.
    """
    __tracebackhide__ = True
    source = shell.transform_cell(cell)
    # The number of the cell that runs: some versions of IPython count up before it runs, some after.
    number = len(shell.history_manager.input_hist_parsed) - 1
    filename = shell.compile.cache(source, number, raw_code=cell)
    try:
        tree = shell.compile.ast_parse(source, filename=filename)
    except SyntaxError as exc:
        # As it is, IPython would show it with every frame of ours: it was not raised by the cell itself.
        raise ClipperUsageError.of(
            "cell-syntax", line=exc.lineno, reason=exc.msg, log="".join(traceback.format_exception_only(exc)[1:-1])
        ) from None
    exec(shell.compile(tree, filename, "exec"), shell.user_ns)
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def with_cell_names(shell: Any, traceback_text: str) -> str:
    """Return a traceback whose files that are cells of this notebook have their names: ``Cell In[3], line 2``."""

    def named(found: re.Match[str]) -> str:
        cell = shell.compile.format_code_name(found["file"])
        return f"{' '.join(cell)}, line" if cell else found[0]

    return _FILE.sub(named, traceback_text)


def choose_function(defined: list[str], wanted: str | None) -> str:
    """Return the name of the function to deploy.

    Parameters
    ----------
    defined : list of str
        Functions that the cell defines.
    wanted : str or None
        The value of ``--func``, which may also name a function from an earlier cell.

    Raises
    ------
    ClipperUsageError
        If the cell defines none, or several of which none is called ``predict``.
    """
    if wanted is not None:
        return wanted
    if "predict" in defined:
        return "predict"
    if not defined:
        raise ClipperUsageError.of("no-function-in-cell")
    if len(defined) > 1:
        raise ClipperUsageError.of("several-functions", functions=", ".join(defined), first=defined[-1])
    return defined[0]


def find_function(shell: Any, name: str) -> Callable[..., Any]:
    """Return the callable that an expression such as ``f`` or ``model.predict`` names in the user's namespace.

    Raises
    ------
    ClipperUsageError
        If there is none.
    """
    head, *attributes = name.split(".")
    missing = object()
    value = shell.user_ns.get(head, missing)
    for attribute in attributes:
        value = getattr(value, attribute, missing)
    if not callable(value):
        callables = [key for key, item in shell.user_ns.items() if callable(item) and not key.startswith("_")]
        if near := nearest(name, callables):
            raise ClipperUsageError.of("function-not-found-near", function=name, suggestion=near)
        raise ClipperUsageError.of("function-not-found", function=name)
    found: Callable[..., Any] = value
    return found
