"""Names of input types, and how one input is packed."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_image.errors import ServingError
from serving_image.input_types import INPUT_TYPES, canonical, pack_all, packer, unpack

INT32 = st.integers(-(2**31), 2**31 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FLOAT64 = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("aliases", "name"),
    [
        ("integers ints integer int i", "integers"),
        ("floats float f", "floats"),
        ("doubles double d", "doubles"),
        ("bytes byte b", "bytes"),
        ("strings string str strs s", "strings"),
        ("json record records", "json"),
    ],
)
def test_every_alias_of_clipper_is_known(aliases: str, name: str) -> None:
    assert {canonical(alias) for alias in aliases.split()} == {name}
    assert name in INPUT_TYPES


@pytest.mark.parametrize("name", ["", "Doubles", "numpy", "bytes ", None, 3])
def test_another_name_is_refused_with_those_that_are_known(name: Any) -> None:
    with pytest.raises(ServingError, match="Known: integers, floats, doubles, bytes, strings, json") as caught:
        canonical(name)
    assert caught.value.code == "bad-input-type"


@pytest.mark.parametrize(("input_type", "code"), [("integers", "<2i"), ("floats", "<2f"), ("doubles", "<2d")])
def test_numbers_are_packed_little_endian(input_type: str, code: str) -> None:
    assert packer(input_type)([1, -2]) == struct.pack(code, 1, -2)


@given(st.lists(INT32), st.lists(FLOAT32), st.lists(FLOAT64), st.binary(), st.text())
def test_unpacking_gives_back_what_was_packed(
    integers: list[int], floats: list[float], doubles: list[float], raw: bytes, text: str
) -> None:
    values: tuple[Any, ...] = (integers, floats, doubles, raw, text)
    for input_type, value in zip((t for t in INPUT_TYPES if t != "json"), values, strict=True):
        assert unpack(input_type, packer(input_type)(value)) == value


@pytest.mark.parametrize("wire", [b"1234567", "text"])
def test_a_vector_of_half_an_element_is_refused(wire: bytes | str) -> None:
    with pytest.raises(ServingError, match="no packed vector"):
        unpack("doubles", wire)


def test_several_inputs_may_have_several_lengths() -> None:
    assert [len(wire) for wire in pack_all("doubles", [[1.0], [], [1.0, 2.0]])] == [8, 0, 16]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | FLOAT64 | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_json_is_packed_as_the_same_json(value: Any) -> None:
    wire = packer("json")(value)
    assert isinstance(wire, bytes)
    assert json.loads(wire) == value
    assert unpack("json", wire) == wire.decode()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": [{"d": 2, "c": 3}]}, {"b": [{"c": 3, "d": 2}], "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ([1, 2], [2, 1], False),
        ({}, None, False),
    ],
)
def test_equal_json_has_one_form_whatever_the_order_of_its_keys(one: Any, other: Any, same: bool) -> None:
    """The form is what the prediction cache is keyed by."""
    assert (packer("json")(one) == packer("json")(other)) is same
