"""Warnings of a model: each once, by the rules that were there, behind one filter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving_image.warning_log import REMEMBERED, log_warnings_once

Shown = list[tuple[str, str]]

PYTHONS_OWN = [  # as an interpreter starts, without pytest
    ("default", DeprecationWarning, "__main__"),
    ("ignore", DeprecationWarning, ""),
    ("ignore", ResourceWarning, ""),
]


@pytest.fixture
def shown() -> Iterator[Shown]:
    """Return what is shown, category and text; the filters are Python's, and as before after the test."""
    seen: Shown = []

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        seen.append((category.__name__, str(message)))

    with warnings.catch_warnings():
        warnings.resetwarnings()
        for action, category, module in PYTHONS_OWN:
            warnings.filterwarnings(action, category=category, module=module, append=True)  # type: ignore[arg-type]
        warnings.showwarning = show
        yield seen


def code_of(module: str) -> Callable[..., None]:
    """Return a function of a text and a category that warns, as code of `module`."""
    namespace: dict[str, Any] = {"__name__": module, "warnings": warnings}
    source = "def warn(text, category=UserWarning):\n    warnings.warn(text, category)\n"
    exec(compile(source, f"{module}.py", "exec"), namespace)
    function: Callable[..., None] = namespace["warn"]
    return function


def test_a_warning_that_comes_with_every_batch_is_shown_once(shown: Shown) -> None:
    predict = code_of("sklearn")
    log_warnings_once()
    for _ in range(3):
        with warnings.catch_warnings():  # what makes Python forget that it has shown it
            warnings.simplefilter("default")
            predict("X does not have valid feature names")
    assert shown == [("UserWarning", "X does not have valid feature names")]


def test_another_text_category_or_place_is_another_warning(shown: Shown) -> None:
    predict, other = code_of("model"), code_of("helpers")
    log_warnings_once()
    for _ in range(2):
        predict("division by zero", RuntimeWarning)
        predict("overflow", RuntimeWarning)
        predict("overflow", FutureWarning)
        other("overflow", RuntimeWarning)
    assert shown == [
        ("RuntimeWarning", "division by zero"),
        ("RuntimeWarning", "overflow"),
        ("FutureWarning", "overflow"),
        ("RuntimeWarning", "overflow"),
    ]


def test_what_python_ignores_stays_ignored_except_in_the_notebooks_own_code(shown: Shown) -> None:
    library, cell = code_of("pandas"), code_of("__main__")
    log_warnings_once()
    library("use ffill", DeprecationWarning)
    library("left open", ResourceWarning)
    cell("use ffill", DeprecationWarning)
    assert shown == [("DeprecationWarning", "use ffill")]


def test_the_models_own_filters_hold(shown: Shown) -> None:
    predict = code_of("model")
    warnings.filterwarnings("ignore", message="known")
    log_warnings_once()
    predict("known and harmless")
    warnings.filterwarnings("ignore", message="found later")  # as a library does that is imported late
    predict("found later")
    predict("news")
    assert shown == [("UserWarning", "news")]


def test_a_model_that_catches_its_warnings_gets_them(shown: Shown) -> None:
    predict = code_of("model")
    log_warnings_once()
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            predict("mine")
        assert [str(warning.message) for warning in caught] == ["mine"]
    assert shown == []


def test_one_filter_is_left_for_libraries_that_copy_them(shown: Shown) -> None:
    log_warnings_once()
    assert len(warnings.filters) == 1


def test_warnings_that_are_errors_stay_errors(shown: Shown) -> None:
    predict = code_of("model")
    warnings.filterwarnings("error", category=RuntimeWarning)
    log_warnings_once()
    for _ in range(2):
        with pytest.raises(RuntimeWarning, match="overflow"):
            predict("overflow", RuntimeWarning)


def test_ever_new_texts_do_not_fill_the_log(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    predict = code_of("model")
    log_warnings_once()
    for number in range(2 * REMEMBERED):
        predict(f"batch {number}")
    assert len(shown) == REMEMBERED
    assert [record.getMessage() for record in caplog.records] == [
        f"the model has warned of {REMEMBERED} things: no more of its warnings are logged"
    ]
