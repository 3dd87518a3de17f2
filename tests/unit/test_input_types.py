"""Names of input types, and how one input is packed."""

from __future__ import annotations

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
    ],
)
def test_every_alias_of_clipper_is_known(aliases: str, name: str) -> None:
    assert {canonical(alias) for alias in aliases.split()} == {name}
    assert name in INPUT_TYPES


@pytest.mark.parametrize("name", ["", "Doubles", "numpy", "bytes ", None, 3])
def test_another_name_is_refused_with_those_that_are_known(name: Any) -> None:
    with pytest.raises(ServingError, match="Known: integers, floats, doubles, bytes, strings") as caught:
        canonical(name)
    assert caught.value.code == "bad-input-type"


@pytest.mark.parametrize(("input_type", "code"), [("integers", "<2i"), ("floats", "<2f"), ("doubles", "<2d")])
def test_numbers_are_packed_little_endian(input_type: str, code: str) -> None:
    assert packer(input_type)([1, -2]) == struct.pack(code, 1, -2)


@given(st.lists(INT32), st.lists(FLOAT32), st.lists(FLOAT64), st.binary(), st.text())
def test_unpacking_gives_back_what_was_packed(
    integers: list[int], floats: list[float], doubles: list[float], raw: bytes, text: str
) -> None:
    for input_type, value in zip(INPUT_TYPES, (integers, floats, doubles, raw, text), strict=True):
        assert unpack(input_type, packer(input_type)(value)) == value


@pytest.mark.parametrize("wire", [b"1234567", "text"])
def test_a_vector_of_half_an_element_is_refused(wire: bytes | str) -> None:
    with pytest.raises(ServingError, match="no packed vector"):
        unpack("doubles", wire)


def test_several_inputs_may_have_several_lengths() -> None:
    assert [len(wire) for wire in pack_all("doubles", [[1.0], [], [1.0, 2.0]])] == [8, 0, 16]
