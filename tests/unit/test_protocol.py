"""The bodies on the predict path, with Clipper's texts to the letter."""

from __future__ import annotations

import math
from array import array
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_image.errors import ServingError
from serving_image.input_types import INPUT_TYPES
from serving_image.protocol import (
    BatchAnswer,
    PredictDecoder,
    PredictRequest,
    decode_answer,
    decode_batch,
    decode_json_batch,
    decode_update,
    encode_answer,
    encode_batch,
    encode_json_answer,
    output_fragment,
    render_batch,
    render_default,
    render_prediction,
)

SCHEMA = 'Expected JSON schema: \n  {\n   "input" := [double] | [int] | [string] | [byte] | [float],\n  }\n'
MISMATCH = "Type mismatch! JSON key {} expected type {}but found type {}"


def doubles(*values: float) -> bytes:
    return array("d", values).tobytes()


def refusal(input_type: str, body: bytes) -> str:
    """Return why `body` is refused, without the schema that follows."""
    with pytest.raises(ServingError) as caught:
        PredictDecoder(input_type)(body)
    assert (caught.value.code, caught.value.status, caught.value.error) == ("bad-json", 400, "Json error")
    return caught.value.cause.removeprefix("Error parsing JSON: ").removesuffix(f". {SCHEMA}")


# ---- requests

LONG = b" " * 2048  # makes a request so long that a vector in it is read the fast way
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
KEYS = st.sampled_from(["input", "input_batch", "version", "uid"])


def outcome(body: bytes) -> PredictRequest | str:
    """Return the request, or why it is refused."""
    try:
        return PredictDecoder("doubles")(body)
    except ServingError as error:
        return error.cause


@given(st.dictionaries(KEYS, NUMBERS | st.lists(NUMBERS) | JSON))
def test_a_long_request_means_what_a_short_one_means(fields: dict[str, Any]) -> None:
    body = msgspec.json.encode(fields)
    assert outcome(body + LONG) == outcome(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[1, 2]",
        b'{"input": [1, 2]} 3',
        b'{"input": [1, 2], }',
        b'{"input": [1, true]}',
        b'{"input": [[1], [2]]}',
        b'{"input": [1], "input": [2]}',
        b'{"input": [1], "version": "2"}',
        b'{"input": [1], "version": 2}',
        b'{"input": [1], "input_batch": 3}',
        b'{"\\u0069nput": [1]}',
        b'{"input": [NaN]}',
        b'{"input": [01]}',
        b'{"input": [1e999]}',
        b'{"input": [5e-324, -0.0, 1e308, 18446744073709551615, 18446744073709551616, -9223372036854775809]}',
        b'{"input": [100000000000000000000]}',
        b'{"input": [-9223372036854775809]}',
        b'{"input": [1], "uid": 100000000000000000000}',
        b'{"input": [1%b]}' % (b"0" * 400),
        b'\xef\xbb\xbf{"input": [1]}',
        b'{"input": [1], "note": "\xff"}',
        b'{"uid": 0, "input": [1.1, 2, -3e2]}',
    ],
)
def test_the_fast_way_is_no_second_opinion(body: bytes) -> None:
    assert outcome(body + LONG) == outcome(body)


def test_a_long_vector_is_packed_to_the_last_bit() -> None:
    values = [math.nextafter(number / 7, math.inf) for number in range(1000)]
    assert outcome(msgspec.json.encode({"input": values})) == PredictRequest([doubles(*values)], None, False)


def test_a_vector_beyond_what_the_fast_way_keeps_memory_for_is_read_all_the_same() -> None:
    values = [1 / 3] * 80_000
    assert outcome(msgspec.json.encode({"input": values})) == PredictRequest([doubles(*values)], None, False)


def test_an_input_is_one_packed_vector() -> None:
    request = PredictDecoder("doubles")(b'{"uid": 0, "input": [1.1, 2, -3e2]}')
    assert (request.inputs, request.version, request.is_batch) == ([doubles(1.1, 2, -300)], None, False)


def test_a_batch_keeps_its_order_and_a_batch_of_one_is_no_batch() -> None:
    decode = PredictDecoder("doubles")
    assert decode(b'{"input_batch": [[1], [2, 3], []]}').inputs == [doubles(1), doubles(2, 3), doubles()]
    assert [decode(b'{"input_batch": %b}' % batch).is_batch for batch in (b"[]", b"[[1]]", b"[[1],[2]]")] == [
        True,
        False,
        True,
    ]


def test_input_wins_over_input_batch_even_if_that_is_wrong() -> None:
    for batch in (b"[[2]]", b"3", b'["x"]'):
        request = PredictDecoder("doubles")(b'{"input_batch": %b, "input": [1]}' % batch)
        assert request.inputs == [doubles(1)]


def test_a_version_may_be_asked_for() -> None:
    assert PredictDecoder("doubles")(b'{"input": [1], "version": "2"}').version == "2"


@pytest.mark.parametrize(
    ("input_type", "value", "wire"),
    [
        ("integers", b"[1, -2147483648]", array("i", [1, -(2**31)]).tobytes()),
        ("floats", b"[1, 2.5]", array("f", [1, 2.5]).tobytes()),
        ("bytes", b'"AP8="', b"\x00\xff"),
        ("strings", '"é\\n"'.encode(), "é\n"),
        ("json", b'{"b": [1, 2.50], "a": null}', b'{"a":null,"b":[1,2.5]}'),
        ("json", b"null", b"null"),
        ("json", b'"text"', b'"text"'),
    ],
)
def test_each_input_type_has_its_form(input_type: str, value: bytes, wire: bytes | str) -> None:
    decode = PredictDecoder(input_type)
    assert decode(b'{"input": %b}' % value).inputs == [wire]
    assert decode(b'{"input_batch": [%b, %b]}' % (value, value)).inputs == [wire, wire]


@pytest.mark.parametrize(
    ("input_type", "body", "why"),
    [
        ("doubles", b"{}", "JSON object does not have required keys input or input_batch"),
        ("doubles", b'{"input": 3}', "Type mismatch! JSON key input expected type Arraybut found type Number"),
        ("doubles", b'{"input": "a"}', "Type mismatch! JSON key input expected type Arraybut found type String"),
        ("doubles", b'{"input": null}', "Type mismatch! JSON key input expected type Arraybut found type Null"),
        ("strings", b'{"input": 3}', "Type mismatch! JSON key input expected type Stringbut found type Number"),
        ("bytes", b'{"input": [1]}', "Type mismatch! JSON key input expected type Stringbut found type Array"),
        ("doubles", b'{"input": [[1]]}', "Array input of type Array is not of type double"),
        ("doubles", b'{"input": [1, true]}', "Array input of type True is not of type double"),
        ("doubles", b'{"input": [{"a": 1}]}', "Array input of type Object is not of type double"),
        ("integers", b'{"input": [1.0]}', "Array input of type Number is not of type int"),
        ("integers", b'{"input": [2147483648]}', "Array input of type Number is not of type int"),
        ("floats", b'{"input": [1e39]}', "Array input of type Number is not of type float"),
        ("doubles", b'{"input_batch": 3}', MISMATCH.format("input_batch", "Array", "Number")),
        ("doubles", b'{"input_batch": [3]}', "Array input of type Number is not of type Array"),
        ("doubles", b'{"input_batch": [[1], ["a"]]}', "Array input of type String is not of type double"),
        ("bytes", b'{"input_batch": [3]}', "PredictionData of type Number is not of type base64-encoded string"),
        ("bytes", b'{"input": "?"}', "PredictionData of type String is not of type base64-encoded string"),
        ("strings", b'{"input_batch": ["a", 3]}', "PredictionData of type Number is not of type string"),
        ("doubles", b'{"input": [1], "version": 2}', MISMATCH.format("version", "String", "Number")),
        ("doubles", b'{"input": [NaN]}', "JSON parse error: JSON is malformed: invalid character. (offset 11)\n"),
        ("doubles", b'{"input": [Infinity]}', "JSON parse error: JSON is malformed: invalid character. (offset 11)\n"),
        ("doubles", b'{"input": [1e999]}', "JSON parse error: Number too big to be stored in double.\n"),
        ("doubles", b'{"input": [1', "JSON parse error: Input data was truncated. (offset 12)\n"),
        ("doubles", b"", "JSON parse error: Input data was truncated. (offset 0)\n"),
        ("doubles", b'{"input": [1]} x', "JSON parse error: JSON is malformed: trailing characters. (offset 16)\n"),
        ("json", b'{"input": {"a": NaN}}', "JSON parse error: JSON is malformed: invalid character. (offset 16)\n"),
        ("json", b'{"input": {"a": 1e999}}', "JSON parse error: Number too big to be stored in double.\n"),
        ("json", b'{"input": "\\ud800"}', "JSON parse error: Input data was truncated. (offset 19)\n"),
        ("json", b'{"input_batch": {}}', MISMATCH.format("input_batch", "Array", "Object")),
        ("json", b'{"input": {}, "version": 2}', MISMATCH.format("version", "String", "Number")),
        ("json", b"{}", "JSON object does not have required keys input or input_batch"),
        ("doubles", b"[1, 2]", "JSON schema invalid"),
        ("doubles", b"3", "JSON schema invalid"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_in_clippers_words(input_type: str, body: bytes, why: str) -> None:
    assert refusal(input_type, body) == why


def test_a_refusal_names_the_schema() -> None:
    with pytest.raises(ServingError) as caught:
        PredictDecoder("doubles")(b"{}")
    assert caught.value.cause.startswith("Error parsing JSON: ")
    assert caught.value.cause.endswith(f". {SCHEMA}")


def test_nesting_without_end_is_refused() -> None:
    assert "Invalid nesting" in refusal("doubles", b'{"input": ' + b"[" * 100_000)
    assert "Invalid nesting" in refusal("json", b'{"input": ' + b"[" * 100_000)


@given(st.sampled_from(INPUT_TYPES), st.binary(max_size=60))
def test_no_body_does_anything_but_decode_or_be_refused(input_type: str, noise: bytes) -> None:
    for body in (noise, b'{"input":%b}' % noise, b'{"input_batch":[%b]}' % noise):
        try:
            request = PredictDecoder(input_type)(body)
        except ServingError as error:
            assert error.status == 400
        else:
            assert all(isinstance(wire, str if input_type == "strings" else bytes) for wire in request.inputs)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_every_list_of_doubles_arrives_bit_for_bit(values: list[float]) -> None:
    assert PredictDecoder("doubles")(msgspec.json.encode({"input": values})).inputs == [doubles(*values)]


def test_feedback_is_decoded_or_refused() -> None:
    feedback = decode_update(b'{"uid": 3, "input": [1.0], "label": 0.5}')
    assert (feedback.uid, feedback.label) == (3, 0.5)
    for body in (b"", b"{}", b'{"uid": "a", "input": [], "label": 1.0}'):
        with pytest.raises(ServingError) as caught:
            decode_update(body)
        assert caught.value.code == "bad-json"


# ---- answers


@pytest.mark.parametrize(
    ("output", "fragment"),
    [
        (6.6, b"6.6"), ("6.6", b"6.6"), (1, b"1"), ("1", b"1"), ("1.0", b"1.0"), ("true", b"true"), ("null", b"null"),
        ('{"a":1}', b'{"a":1}'), ("[1,2]", b"[1,2]"), ('"x"', b'"x"'), ("DEFAULT", b'"DEFAULT"'), ("None", b'"None"'),
        (None, b'"None"'), (True, b'"True"'), ("nan", b'"nan"'), (math.nan, b'"nan"'), (-math.inf, b'"-inf"'),
        ((749, 600), b'"(749, 600)"'), ("[[1.]]", b'"[[1.]]"'), ("", b'""'), (" 1.0 ", b"1.0"), ("é", '"é"'.encode()),
        ("\ud800", b'"?"'), ("[" * 9999, b'"' + b"[" * 9999 + b'"'),
        # No double holds these, so a client could not read the answer that has one in it as a number.
        ("1e999", b'"1e999"'), ("[-1e999]", b'"[-1e999]"'), ('{"a":1e400}', b'"{\\"a\\":1e400}"'),
        ("1e-999", b"1e-999"), ("1.5e300", b"1.5e300"), ("9" * 40, b"9" * 40), ("9" * 5000, b'"' + b"9" * 5000 + b'"'),
    ],
)  # fmt: skip
def test_an_output_stays_json_if_it_is_json_else_becomes_a_string(output: Any, fragment: bytes) -> None:
    assert output_fragment(output) == fragment


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.floats())))
def test_every_output_is_valid_json(output: Any) -> None:
    msgspec.json.decode(render_prediction(1, output_fragment(output)))


def test_answers_are_clippers_to_the_byte() -> None:
    assert render_prediction(0, b"6.6") == b'{"query_id":0,"output":6.6,"default":false}'
    default = render_default(7, b"-1.0", 'say "no"')
    assert default == b'{"query_id":7,"output":-1.0,"default":true,"default_explanation":"say \\"no\\""}'
    assert render_batch([]) == b'{"batch_predictions":[]}'
    assert render_batch([b"{}", b"{}"]) == b'{"batch_predictions":[{},{}]}'


# ---- batches


@given(st.lists(st.binary()) | st.lists(st.text()))
def test_a_batch_arrives_as_it_was_sent(inputs: list[Any]) -> None:
    assert decode_batch(encode_batch(inputs)) == inputs


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", msgspec.msgpack.encode({"inputs": 3}), msgspec.msgpack.encode({}),
     msgspec.msgpack.encode({"inputs": [b"a", "a"]}), msgspec.msgpack.encode({"inputs": [1.5]})],
)  # fmt: skip
def test_another_body_is_no_batch(body: bytes) -> None:
    with pytest.raises(ServingError, match="not a MessagePack batch"):
        decode_batch(body)


def test_a_batch_may_come_as_json() -> None:
    assert decode_json_batch(b'{"inputs": [[1.5], []]}', "doubles") == [doubles(1.5), b""]
    assert decode_json_batch(b'{"inputs": ["AP8="]}', "bytes") == [b"\x00\xff"]
    for body in (b"{}", b'{"inputs": ["a"]}', b"[]", b'{"inputs": 3}'):
        with pytest.raises(ServingError) as caught:
            decode_json_batch(body, "doubles")
        assert caught.value.code == "bad-json"


def test_an_answer_arrives_as_it_was_sent() -> None:
    errors = {1: ("TypeError", "no")}
    assert decode_answer(encode_answer([b"1", None], errors)) == BatchAnswer([b"1", None], errors)
    assert encode_json_answer([b"1", None], errors) == b'{"outputs":[1,null],"errors":{"1":["TypeError","no"]}}'
    with pytest.raises(ServingError, match="not an answer"):
        decode_answer(b"nonsense")
