"""The bodies on the predict path: client to query frontend (JSON), query frontend to replica (MessagePack).

Decoding is validation: typed decoders accept exactly the right requests. Only when one refuses a body is it looked at
again, to say why in Clipper's words.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from serving_image.errors import ServingError
from serving_image.input_types import JSON_TYPES, TYPE_CODES, WireInput, pack_all, packer
from serving_image.json_words import NOT_AN_OBJECT, BadDocument, kind, parse_object, type_mismatch
from serving_image.vector_json import doubles_reader

MESSAGEPACK = "application/msgpack"

# The two explanations that Clipper has, word for word.
NO_CONNECTED_MODELS = "No connected models found for query"
SLO_MISSED = "Failed to retrieve a prediction response within the specified latency SLO"

_SCHEMA = '\n  {\n   "input" := [double] | [int] | [string] | [byte] | [float],\n  }\n'
_ELEMENTS = {"integers": "int", "floats": "float", "doubles": "double"}
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# ---- client -> query frontend -----------------------------------------------------------------------------------


class PredictRequest(Struct):
    """A decoded ``POST /<app>/predict``: inputs in wire form.

    Attributes
    ----------
    inputs : list of bytes or str
        One for ``{"input": …}``, any number for ``{"input_batch": […]}``.
    version : str or None
        The version that the client asks for; None is the current one.
    is_batch : bool
        Whether the answer is a list; Clipper unwraps a batch of one.
    """

    inputs: list[WireInput]
    version: str | None
    is_batch: bool


class PredictDecoder:
    """Decode and validate predict requests of one (canonical) input type."""

    def __init__(self, input_type: str) -> None:
        one: Any = JSON_TYPES[input_type]
        batch: Any = types.GenericAlias(list, (one,))
        fields = [
            ("input", one | UnsetType, UNSET),
            ("input_batch", batch | UnsetType, UNSET),
            ("version", str | None, None),
        ]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Body", fields)).decode
        self._pack = packer(input_type)
        self._input_type = input_type
        self._read = doubles_reader() if input_type == "doubles" else None

    def __call__(self, body: bytes) -> PredictRequest:
        """Return the request in `body`.

        Raises
        ------
        ServingError
            ``bad-json`` with Clipper's words.
        """
        if self._read is not None and (vector := self._read(body)) is not None:
            return PredictRequest([vector], None, False)
        try:
            found: Any = self._decode(body)
        except _NOT_JSON:
            found = self._decode_again(body)
        if found.input is not UNSET:
            return PredictRequest([self._pack(found.input)], found.version, False)
        if found.input_batch is UNSET:
            raise _bad_json("JSON object does not have required keys input or input_batch")
        inputs = pack_all(self._input_type, found.input_batch)
        return PredictRequest(inputs, found.version, len(inputs) != 1)

    def _decode_again(self, body: bytes) -> Any:
        """Say what is wrong with `body`; a wrong ``input_batch`` beside a right ``input`` is not."""
        document = _document(body)
        key = "input" if "input" in document else "input_batch"
        if key == "input":
            _check_one(key, document[key], self._input_type)
        elif key in document:
            _check_batch(document[key], self._input_type)
        version = document.get("version")
        if not isinstance(version, str | None):
            raise _bad_json(str(type_mismatch("version", "String", version)))
        return self._decode(msgspec.json.encode({k: document[k] for k in (key, "version") if k in document}))


class UpdateRequest(Struct):
    """A decoded ``POST /<app>/update``: Clipper's feedback, which has no effect there either."""

    uid: int
    label: float
    input: Any


def decode_update(body: bytes) -> UpdateRequest:
    """Return the feedback in `body`; ``bad-json`` if it is none."""
    try:
        return msgspec.json.decode(body, type=UpdateRequest)
    except _NOT_JSON as error:
        raise _bad_json(f"JSON parse error: {error}") from None


def _document(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except BadDocument as error:
        if str(error) == NOT_AN_OBJECT:  # Clipper says only this, without its schema
            raise ServingError("bad-json", NOT_AN_OBJECT) from None
        raise _bad_json(str(error)) from None


def _check_one(key: str, value: Any, input_type: str) -> None:
    if input_type == "json":
        return  # whatever it is
    wanted = list if input_type in TYPE_CODES else str
    if not isinstance(value, wanted):
        raise _bad_json(str(type_mismatch(key, "Array" if wanted is list else "String", value)))
    _check_elements(value, input_type)


def _check_batch(batch: Any, input_type: str) -> None:
    if not isinstance(batch, list):
        raise _bad_json(str(type_mismatch("input_batch", "Array", batch)))
    for value in batch:
        if input_type in TYPE_CODES and not isinstance(value, list):
            raise _bad_json(f"Array input of type {kind(value)} is not of type Array")
        _check_elements(value, input_type)


def _check_elements(value: Any, input_type: str) -> None:
    """Raise for the first part of one input that its type does not accept."""
    if input_type == "json":
        return
    name = _ELEMENTS.get(input_type)
    if name is None:
        wanted = "base64-encoded string" if input_type == "bytes" else "string"
        if not _fits(value, JSON_TYPES[input_type]):
            raise _bad_json(f"PredictionData of type {kind(value)} is not of type {wanted}")
        return
    for element in value:
        if not _fits([element], JSON_TYPES[input_type]):
            raise _bad_json(f"Array input of type {kind(element)} is not of type {name}")


def _fits(value: Any, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _bad_json(why: str) -> ServingError:
    return ServingError("bad-json", f"Error parsing JSON: {why}. Expected JSON schema: {_SCHEMA}")


# ---- query frontend -> client -----------------------------------------------------------------------------------

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder().encode


def output_fragment(output: object) -> bytes:
    """Return what a model gave for one input as JSON, ready to splice into an answer.

    Clipper's rule: the text of the output is kept if it is JSON itself (``6.6``, ``"[1,2]"``), else it becomes a
    JSON string (``nan``, ``True``, ``"DEFAULT"``, and ``1e999``, which no double holds).
    """
    if type(output) is float and isfinite(output):
        return _write(output)  # in a fifth of the time that repr takes, and 1e+16 as 1e16
    if type(output) is int:
        return b"%d" % output
    text = str(output)
    try:
        fragment = text.strip().encode()
        _read(fragment)  # all of it: a look at its grammar alone would let numbers beyond a double through
        if fragment[:1] in (b"[", b"{"):
            fragment = msgspec.json.format(fragment, indent=-1)  # Clipper writes without spaces
    except (*_NOT_JSON, UnicodeEncodeError):
        return msgspec.json.encode(text.encode(errors="replace").decode())
    return fragment


def render_prediction(query_id: int, output: bytes) -> bytes:
    """Return the answer for a model's `output` (a JSON fragment)."""
    return b'{"query_id":%d,"output":%b,"default":false}' % (query_id, output)


def render_default(query_id: int, output: bytes, explanation: str) -> bytes:
    """Return the answer with the default `output` (a JSON fragment) and the reason for it."""
    why = msgspec.json.encode(explanation)
    return b'{"query_id":%d,"output":%b,"default":true,"default_explanation":%b}' % (query_id, output, why)


def render_batch(predictions: Sequence[bytes]) -> bytes:
    """Return the answer to an ``input_batch`` from its rendered predictions, in request order."""
    return b'{"batch_predictions":[%b]}' % b",".join(predictions)


# ---- query frontend <-> replica ---------------------------------------------------------------------------------


class Batch(Struct):
    """What a replica gets: inputs in wire form, all ``bytes`` or all ``str``."""

    inputs: list[Any]


class BatchAnswer(Struct, omit_defaults=True):
    """What a replica answers: an output for each input, or None where the model raised.

    Attributes
    ----------
    outputs : list of bytes or None
        JSON fragments (:func:`output_fragment`).
    errors : dict
        For each None, by position: the exception's type and message.
    """

    outputs: list[bytes | None]
    errors: dict[int, tuple[str, str]] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_answer = msgspec.msgpack.Decoder(BatchAnswer).decode


def encode_batch(inputs: list[WireInput]) -> bytes:
    """Return the MessagePack body of a batch."""
    return _encode(Batch(inputs))


def decode_batch(body: bytes) -> list[WireInput]:
    """Return the inputs in a MessagePack body.

    Raises
    ------
    ServingError
        ``bad-request`` if the body is no batch.
    """
    try:
        inputs = _decode_batch(body).inputs
    except _NOT_JSON as error:
        raise ServingError("bad-request", f"not a MessagePack batch: {error}") from None
    if set(map(type, inputs)) not in ({bytes}, {str}, set()):
        raise ServingError("bad-request", "not a MessagePack batch: inputs must be all bytes or all text")
    return inputs


def decode_json_batch(body: bytes, input_type: str) -> list[WireInput]:
    """Return the inputs in ``{"inputs": […]}``, in wire form (bytes are base64 in JSON).

    Raises
    ------
    ServingError
        ``bad-json`` if the body is none, or has other inputs than those of `input_type`.
    """
    try:
        found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        wanted: Any = types.GenericAlias(list, (JSON_TYPES[input_type],))
        return pack_all(input_type, msgspec.json.decode(found["inputs"], type=wanted))
    except KeyError:
        raise ServingError("bad-json", "JSON object does not have required key: inputs") from None
    except _NOT_JSON as error:
        raise ServingError("bad-json", f"inputs of type {input_type} expected: {error}") from None


def encode_answer(outputs: list[bytes | None], errors: Mapping[int, tuple[str, str]]) -> bytes:
    """Return the MessagePack body of a batch's answer."""
    return _encode(BatchAnswer(outputs, dict(errors)))


def encode_json_answer(outputs: list[bytes | None], errors: Mapping[int, tuple[str, str]]) -> bytes:
    """Return the same answer as JSON, for people with curl."""
    fragments = b",".join(b"null" if output is None else output for output in outputs)
    return b'{"outputs":[%b],"errors":%b}' % (fragments, msgspec.json.encode(dict(errors)))


def decode_answer(body: bytes) -> BatchAnswer:
    """Return the answer in a MessagePack body; ``bad-request`` if it is none."""
    try:
        return _decode_answer(body)
    except _NOT_JSON as error:
        raise ServingError("bad-request", f"not an answer to a batch: {error}") from None
