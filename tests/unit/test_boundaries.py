"""Imports go one way: walked with ast, so that a forbidden one fails even where it is never executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import clipper_magic
import serving_image

ROOT = Path(clipper_magic.__file__).parent.parent
KERNEL = sorted(Path(clipper_magic.__file__).parent.rglob("*.py"))
SERVING = sorted(Path(serving_image.__file__).parent.rglob("*.py"))

# Which files may import a package, as patterns of paths below the project.
ALLOWED = {
    "IPython": ("clipper_magic/magics.py", "clipper_magic/commands/*", "clipper_magic/panel*.py",
                "clipper_magic/completion.py", "clipper_magic/progress.py", "clipper_magic/told.py"),
    "docker": ("clipper_magic/managers/docker*.py", "clipper_magic/image.py", "serving_image/base_image.py"),
    "circus": ("clipper_magic/managers/supervisor.py",),
    "tornado": ("clipper_magic/managers/supervisor.py",),
    "httptools": ("serving_image/http_connection.py", "serving_image/replica_client.py",
                  "clipper_magic/panel/source.py"),
    "simdjson": ("serving_image/vector_json.py",),
    "uvloop": ("serving_image/server.py",),
    "torch": ("serving_image/loader_pytorch.py", "clipper_magic/deployers/pytorch.py"),
    "onnx": ("clipper_magic/deployers/onnx.py",),
    "onnxruntime": ("serving_image/loader_onnx.py", "clipper_magic/deployers/onnx.py"),
    "pandas": ("serving_image/dataframes.py",),
    "sklearn": (),
    "clipper_magic.managers.supervisor": (),
    "clipper_magic.magics": (),
}  # fmt: skip
ALLOWED["ipywidgets"] = ALLOWED["anywidget"] = ALLOWED["IPython"]

# What the kernel may use of the serving side: pure modules, what a model function calls, the form of saved tensors.
SHARED = {"address", "errors", "input_types", "protocol", "batching", "cache", "metrics"}
SHARED |= {"dataframes", "user_metrics", "loader_pytorch"}
# Makes base images on the kernel's side; lives with the Dockerfile.
BASE_IMAGE_TOOL = {"base_image", "debian_root"}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports: modules, and each name taken from a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SERVING, ids=shown)
def test_the_serving_side_never_imports_the_kernel_side(path: Path) -> None:
    assert [name for name in imports(path) if is_of(name, "clipper_magic")] == []


@pytest.mark.parametrize("path", KERNEL, ids=shown)
def test_the_kernel_side_imports_only_what_is_shared(path: Path) -> None:
    taken = {name.split(".")[1] for name in imports(path) if name.startswith("serving_image.")}
    shared = SHARED | BASE_IMAGE_TOOL if "docker" in path.name or path.name == "image.py" else SHARED
    assert taken - {"PROTOCOL_VERSION"} <= shared


@pytest.mark.parametrize("path", [*KERNEL, *SERVING], ids=shown)
def test_each_library_is_imported_only_where_it_belongs(path: Path) -> None:
    forbidden = [
        name
        for name in imports(path)
        for package, places in ALLOWED.items()
        if is_of(name, package) and not any(fnmatch(shown(path), place) for place in places)
    ]
    assert forbidden == []


@pytest.mark.parametrize("path", KERNEL, ids=shown)
def test_managers_know_no_connection(path: Path) -> None:
    below = "managers/" in shown(path) or path.name == "container_manager.py"
    above = ("clipper_magic.connection", "clipper_magic.verbs", "clipper_magic.deployers", "clipper_magic.commands")
    assert not below or [name for name in imports(path) for module in above if is_of(name, module)] == []


@pytest.mark.parametrize("path", [*KERNEL, *SERVING], ids=shown)
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_walk_sees_the_files() -> None:
    assert {"clipper_magic/connection.py", "clipper_magic/managers/supervisor.py"} <= {shown(p) for p in KERNEL}
    assert "serving_image/server.py" in {shown(path) for path in SERVING}
