"""Names of models and versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipper_magic.exceptions import InputTypeError, InvalidNameError
from clipper_magic.names import DEPLOYABLE, check_deployable, check_input_type, suggest_name


@pytest.mark.parametrize(("name", "version"), [("sum-model", 1), ("m", "v-2"), ("0", "0"), ("a--b", "20261122")])
def test_legal(name: str, version: object) -> None:
    assert check_deployable(name, version) == str(version)


@pytest.mark.parametrize(
    ("name", "version", "what", "suggestion"),
    [
        ("sum_model", 1, "a model name", "sum-model"),
        ("Sum", 1, "a model name", "sum"),
        ("-a-", 1, "a model name", "a"),
        ("", 1, "a model name", "model"),
        ("été", 1, "a model name", "t"),
        ("m", "1.0", "a model version", "1-0"),
        ("m", "1\n", "a model version", "1"),
    ],
)
def test_illegal(name: str, version: object, what: str, suggestion: str) -> None:
    with pytest.raises(InvalidNameError, match=what) as caught:
        check_deployable(name, version)
    assert caught.value.fix == f"Call it '{suggestion}'."
    assert "must be a valid DNS-1123  subdomain" in caught.value.msg


@given(st.text())
def test_suggestion_is_legal(value: str) -> None:
    assert DEPLOYABLE.match(suggest_name(value))


@given(st.from_regex(DEPLOYABLE, fullmatch=True))
def test_legal_name_is_suggested_unchanged_but_for_repeats(value: str) -> None:
    assert suggest_name(value).replace("-", "") == value.replace("-", "")


def test_input_type() -> None:
    assert check_input_type("d") == "doubles"
    with pytest.raises(InputTypeError, match="Unknown input type 'vectors'"):
        check_input_type("vectors")
