"""The README names everything that a user can call, type or catch."""

import inspect
from pathlib import Path

import pytest

from clipper_magic import ClipperConnection, exceptions
from clipper_magic.commands import REGISTRY

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

METHODS = [name for name, _ in inspect.getmembers(ClipperConnection, inspect.isfunction) if not name.startswith("_")]
ERRORS = [
    name
    for name, found in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(found, exceptions.ClipperException)
]


def documented(word: str) -> bool:
    """Whether the README has ``word`` as code, alone or before its arguments."""
    return any(f"{mark}{word}{end}" in README for mark in ("`", "%") for end in ("`", " ", "["))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_in_the_readme(name: str):
    assert documented(name)


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_command_is_in_the_readme(name: str):
    assert documented(name)


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_in_the_readme(name: str):
    assert documented(name)


def test_a_name_that_is_missing_is_found():
    assert not documented("no_such_method")


def test_the_two_commands_are_in_the_readme():
    assert "make demo" in README
    assert "make test" in README


@pytest.mark.parametrize("path", ["notebooks/en", "notebooks/fr"])
def test_every_lesson_is_in_the_readme(path: str):
    root = Path(__file__).parents[2]
    lessons = sorted(lesson.relative_to(root).as_posix() for lesson in (root / path).glob("*.ipynb"))
    assert [lesson for lesson in lessons if f"]({lesson})" not in README] == []
