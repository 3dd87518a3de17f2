"""What a function needs beyond itself: distributions to install, and modules of the user's own.

A module is the standard library's, a distribution's (installed among the site packages) or local: a file beside the
notebook, or a checkout. The first needs nothing, the second a pinned requirement, the third must travel along.
"""

from __future__ import annotations

import ast
import dis
import shutil
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata, util
from pathlib import Path
from types import CodeType

# What every replica has anyway, and what must never travel.
OURS = frozenset({"clipper_magic", "serving_image", "cloudpickle", "__main__", "__mp_main__"})


def imported_names(code: CodeType) -> Iterator[str]:
    """Yield the modules that a function imports when it runs, with those of its inner functions."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from imported_names(constant)


def module_path(name: str) -> Path | None:
    """Return the file of a top-level module, or the directory of a package; None if it has neither."""
    try:
        spec = util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None  # not importable here, or a module made by hand
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))  # a namespace package has no file, only places
    return Path(spec.origin) if spec.origin and spec.has_location else None


def is_local(name: str) -> bool:
    """Return whether a top-level module is neither the standard library's nor installed."""
    if name in OURS or name in sys.stdlib_module_names:
        return False
    path = module_path(name)
    return path is not None and not any(path.is_relative_to(root) for root in _installed_roots())


@cache
def _installed_roots() -> tuple[Path, ...]:
    paths = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    # The interpreter's own roots too: a virtual environment may use the system's packages.
    return tuple(Path(path) for path in {*paths, *site.getsitepackages(), site.getusersitepackages()} if path)


def top_level(modules: Iterable[str]) -> list[str]:
    """Return the distinct first parts of module names, sorted, without ours."""
    return sorted({name.partition(".")[0] for name in modules} - OURS - {""})


def local_modules(modules: Iterable[str]) -> list[str]:
    """Return the local ones of these modules, and the local modules that those import, and so on."""
    waiting, found = top_level(modules), set()
    while waiting:
        name = waiting.pop()
        if name not in found and is_local(name):
            found.add(name)
            waiting += _imports_of(module_path(name))
    return sorted(found)


def _imports_of(path: Path | None) -> list[str]:
    """Return the top-level names that the sources of a module import."""
    if path is None:
        return []
    names: list[str] = []
    for source in [path] if path.is_file() else path.rglob("*.py"):
        try:
            tree = ast.parse(source.read_bytes())
        except (SyntaxError, ValueError, OSError):
            continue  # not Python: it will say so itself if it is ever imported
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.append(node.module)
    return top_level(names)


def copy_modules(names: Iterable[str], target: Path) -> None:
    """Copy local modules into ``target``, which is made if there are any."""
    for name in names:
        path = module_path(name)
        if path is None:
            continue
        target.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy(path, target)
        else:
            ignored = shutil.ignore_patterns("__pycache__", ".git", ".venv", "node_modules")
            shutil.copytree(path, target / path.name, ignore=ignored)


def pinned_requirements(modules: Iterable[str]) -> list[str]:
    """Return ``name==version`` of each distribution that these modules come from, as installed in this kernel.

    A checkout (an editable installation) has no such version elsewhere, and is a local module instead.
    """
    wanted = [name for name in top_level(modules) if name not in sys.stdlib_module_names and not is_local(name)]
    return sorted({f"{name}=={metadata.version(name)}" for name in _distributions(wanted)})


def _distributions(modules: Iterable[str]) -> set[str]:
    """Return the distributions that these top-level modules come from.

    Most have the module's name; only for the others are the files of everything installed searched, which takes long.
    """
    found, others = set(), set()
    for module in modules:
        try:
            found.add(metadata.distribution(module).metadata["Name"])
        except metadata.PackageNotFoundError:
            others.add(module)
    owners = metadata.packages_distributions() if others else {}
    return found.union(*(owners.get(module, []) for module in others))
