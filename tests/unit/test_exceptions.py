"""The exception tree and its texts."""

from __future__ import annotations

import inspect
import pickle
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import clipper_magic
from clipper_magic import exceptions
from clipper_magic.admin_client import ERROR_CLASSES
from clipper_magic.exceptions import (
    ClipperException,
    DeployError,
    NoClusterError,
    NotRegisteredError,
    ReplicaStartError,
    UnconnectedException,
)
from clipper_magic.messages import catalogue
from serving_image.errors import ERRORS

CODES = sorted(catalogue.load("errors", "en"))
SOURCES = sorted(Path(clipper_magic.__file__).parent.rglob("*.py"))


def fields_of(entry: dict[str, str], parts: tuple[str, ...] = ("what", "fix")) -> set[str]:
    texts = (entry.get(part, "") for part in parts)
    return {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_each_code_has_a_french_entry() -> None:
    assert sorted(catalogue.load("errors", "fr")) == CODES


@pytest.mark.parametrize("code", CODES)
def test_both_languages_say_what_and_fix_with_the_same_fields(code: str) -> None:
    english, french = catalogue.load("errors", "en")[code], catalogue.load("errors", "fr")[code]

    assert set(english) - {"msg"} == set(french) - {"msg"}
    assert {"what", "fix"} <= set(english) <= {"msg", "what", "fix", "magic"}
    assert fields_of(dict(english), ("magic",)) == fields_of(dict(french), ("magic",)) <= fields_of(dict(english))
    assert fields_of(dict(english)) >= fields_of(dict(french)) - fields_of(dict(english), ("msg",))
    assert fields_of(dict(french)) - fields_of(dict(english)) <= {"model", "app", "version"}


def test_each_server_error_code_has_a_class_and_a_text() -> None:
    assert set(ERROR_CLASSES) == set(ERRORS)
    assert set(ERRORS) <= set(CODES)


def codes_used() -> Iterator[tuple[str, str]]:
    for path in SOURCES:
        for code in re.findall(r"\.of(?:_step)?\(\s*\"([a-z-]+)\"", path.read_text(encoding="utf-8")):
            yield path.name, code


def test_each_code_in_the_program_is_in_the_catalogue() -> None:
    assert [(name, code) for name, code in codes_used() if code not in CODES] == []


def test_each_code_in_the_catalogue_is_used() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert [code for code in CODES if f'"{code}"' not in text] == []


def test_every_error_is_a_clipper_exception_and_is_documented() -> None:
    classes = [c for _, c in inspect.getmembers(exceptions, inspect.isclass) if c.__module__ == exceptions.__name__]

    assert all(issubclass(c, ClipperException) for c in classes)
    assert all(c.__doc__ for c in classes)
    assert all(c.__name__ in (exceptions.__doc__ or "") for c in classes)


def test_clipper_exception_is_clippers() -> None:
    error = ClipperException("went wrong", 1, 2)

    assert (error.msg, error.args, str(error)) == ("went wrong", ("went wrong", 1, 2), "went wrong")
    assert (error.what, error.fix, error.code) == ("went wrong", "", "")


def test_unconnected_exception_has_clippers_text() -> None:
    error = UnconnectedException()

    assert error.msg == (
        "No connection to Clipper cluster. Call ClipperConnection.connect to connect to an existing cluster or "
        "ClipperConnnection.start_clipper to create a new one"
    )
    assert error.fix.startswith("Call ClipperConnection.connect")


def test_of_fills_the_texts_in() -> None:
    error = NoClusterError.of("no-cluster", cluster="blue")

    assert isinstance(error, UnconnectedException)
    assert error.what == "No Clipper cluster named 'blue' is running here."
    assert str(error) == f"{error.what} Fix: {error.fix}"
    french = error.localized("fr").replace("\u00a0", " ")
    assert french.startswith("Aucune grappe Clipper nommée « blue » ne tourne ici. Solution : ")
    assert error.fields == {"cluster": "blue"}


def test_values_with_braces_are_shown_as_they_are() -> None:
    log = 'KeyError: {"a": {0}}'
    fields = {"replica_id": 0, "model": "m", "version": "1", "exit_code": 3, "log": log}

    assert log in str(ReplicaStartError.of("replica-died", **fields))


def test_a_missing_field_is_a_mistake_in_the_program() -> None:
    with pytest.raises(KeyError):
        NotRegisteredError.of("no-current-version")


@pytest.mark.parametrize(
    "error",
    [
        ClipperException("m", 1),
        UnconnectedException(),
        DeployError.of("resize-containerless", model="m", version="1"),
    ],
)
def test_errors_survive_pickling(error: ClipperException) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), copy.msg, copy.code, copy.fields) == (
        type(error),
        str(error),
        error.msg,
        error.code,
        error.fields,
    )


def test_an_unknown_language_falls_back_to_english() -> None:
    assert UnconnectedException().localized("de") == str(UnconnectedException())
