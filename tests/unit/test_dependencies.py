"""Which modules a function needs, and where each comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from clipper_magic.dependencies import (
    copy_modules,
    imported_names,
    is_local,
    local_modules,
    module_path,
    pinned_requirements,
    top_level,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the module path, with a module, a package and what they import."""
    (tmp_path / "dep_one.py").write_text("import dep_two\nimport numpy\n")
    (tmp_path / "dep_two.py").write_text("def f():\n    from dep_pack.inner import x\n")
    package = tmp_path / "dep_pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from . import other\nimport json, dep_one\nx = 1\n")
    (package / "other.py").write_text("this is not Python")
    (package / "data.txt").write_text("data")
    (package / "__pycache__").mkdir()
    (tmp_path / "dep_unused.py").write_text("")
    (tmp_path / "dep_space").mkdir()
    (tmp_path / "dep_space" / "inner.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("dep_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("json", False),
        ("sys", False),
        ("numpy", False),
        ("sklearn", False),
        ("clipper_magic", False),
        ("serving_image", False),
        ("__main__", False),
        ("no_such_module_anywhere", False),
        ("dep_one", True),
        ("dep_pack", True),
        ("dep_space", True),
    ],
)
def test_is_local(folder: Path, name: str, expected: bool) -> None:
    assert is_local(name) is expected


def test_module_path(folder: Path) -> None:
    assert module_path("dep_one") == folder / "dep_one.py"
    assert module_path("dep_pack") == folder / "dep_pack"
    assert module_path("dep_space") == folder / "dep_space"
    assert module_path("sys") is None


def test_local_modules_follow_what_they_import(folder: Path) -> None:
    assert local_modules(["dep_one", "numpy", "json"]) == ["dep_one", "dep_pack", "dep_two"]
    assert local_modules(["numpy"]) == []


def test_imported_names_are_found_in_inner_functions() -> None:
    def outer() -> object:
        import json.decoder

        def inner() -> object:
            from collections import abc

            return abc

        return json.decoder, inner

    assert sorted(imported_names(outer.__code__)) == ["collections", "json.decoder"]


def test_top_level() -> None:
    assert top_level(["a.b", "a", "c", "__main__", "", "clipper_magic.x"]) == ["a", "c"]


def test_copy_modules(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "model" / "modules"
    copy_modules(["dep_one", "dep_pack"], target)

    copied = sorted(path.relative_to(target).as_posix() for path in target.rglob("*"))
    assert copied == [
        "dep_one.py",
        "dep_pack",
        "dep_pack/__init__.py",
        "dep_pack/data.txt",
        "dep_pack/inner.py",
        "dep_pack/other.py",
    ]


def test_nothing_to_copy_makes_no_directory(tmp_path: Path) -> None:
    copy_modules([], tmp_path / "modules")
    assert not (tmp_path / "modules").exists()


def test_pinned_requirements(folder: Path) -> None:
    assert pinned_requirements(["numpy.linalg", "sklearn", "json", "dep_one", "__main__"]) == [
        f"numpy=={metadata.version('numpy')}",
        f"scikit-learn=={metadata.version('scikit-learn')}",
    ]
    assert pinned_requirements(["json", "dep_one"]) == []
