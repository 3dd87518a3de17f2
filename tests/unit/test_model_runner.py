"""What a model function receives, what becomes of its outputs, and what its exceptions cost."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

import numpy as np
import pytest

from serving_image.error_log import CAPACITY, ErrorLog
from serving_image.errors import ServingError
from serving_image.model_runner import ModelRunner, PredictFunction, to_batch


def doubles(*values: float) -> bytes:
    return array("d", values).tobytes()


def runner(predict: PredictFunction, input_type: str = "doubles", errors: ErrorLog | None = None) -> ModelRunner:
    return ModelRunner(predict, input_type, errors or ErrorLog())


@pytest.mark.parametrize(
    ("input_type", "code", "dtype"),
    [("integers", "i", "int32"), ("floats", "f", "float32"), ("doubles", "d", "float64")],
)
def test_numbers_of_one_length_make_one_array(input_type: str, code: str, dtype: str) -> None:
    batch = to_batch([array(code, [1, 2, 3]).tobytes(), array(code, [4, 5, 6]).tobytes()], input_type)
    assert (batch.dtype, batch.shape) == (np.dtype(dtype), (2, 3))
    assert batch.flags.c_contiguous
    assert batch.tolist() == [[1, 2, 3], [4, 5, 6]]
    batch[0, 0] = 9  # a model may work in place
    assert batch[0, 0] == 9


def test_numbers_of_several_lengths_make_a_list_of_arrays() -> None:
    batch = to_batch([doubles(1), doubles(2, 3)], "doubles")
    assert isinstance(batch, list)
    assert [vector.tolist() for vector in batch] == [[1], [2, 3]]
    batch[1][0] = 9.0
    assert batch[1][0] == 9.0


def test_empty_vectors_make_an_array_without_columns() -> None:
    assert to_batch([b"", b""], "doubles").shape == (2, 0)


def test_bytes_and_strings_stay_what_they_are() -> None:
    assert to_batch([b"\x00\xff", b""], "bytes") == [b"\x00\xff", b""]
    assert to_batch(["é", ""], "strings") == ["é", ""]


@pytest.mark.parametrize(
    ("inputs", "input_type"), [([b"1234567"], "doubles"), (["text"], "doubles"), ([b"bytes"], "strings")]
)
def test_an_input_that_has_not_the_form_of_its_type_is_the_callers_error(inputs: Any, input_type: str) -> None:
    with pytest.raises(ServingError) as refused:
        runner(list, input_type).run(inputs)
    assert refused.value.code == "bad-request"


@pytest.mark.parametrize(
    ("returned", "fragments"),
    [
        (["6.6", 1], [b"6.6", b"1"]),
        ((np.float64(6.6), np.int32(3)), [b"6.6", b"3"]),
        (np.array([1.5, 2.5]), [b"1.5", b"2.5"]),
        ([float("nan"), None], [b'"nan"', b'"None"']),
        ([(1, 2), True], [b'"(1, 2)"', b'"True"']),
        ([" [1, 2]\n", '{"a": 1.50}'], [b"[1,2]", b'{"a":1.50}']),
        (["[1,", '"x"'], [b'"[1,"', b'"x"']),
        (["[" * 100_000, "1.0"], [b'"' + b"[" * 100_000 + b'"', b"1.0"]),
        ((str(i) for i in range(2)), [b"0", b"1"]),
    ],
)
def test_outputs_become_json_as_clippers_do(returned: Any, fragments: list[bytes]) -> None:
    answer = runner(lambda xs: returned).run([doubles(1), doubles(2)])
    assert (answer.outputs, answer.errors) == (fragments, {})


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1], "Expected model to return 2 outputs, found 1 outputs"),
        ([], "Expected model to return 2 outputs, found 0 outputs"),
        (None, "Expected model to return a list of 2 outputs, found NoneType"),
        (6.6, "Expected model to return a list of 2 outputs, found float"),
        ("ab", "Expected model to return a list of 2 outputs, found str"),
        ({1: 2, 3: 4}, "Expected model to return a list of 2 outputs, found dict"),
    ],
)
def test_outputs_that_do_not_match_fail_the_whole_batch(returned: Any, message: str) -> None:
    answer = runner(lambda xs: returned).run([doubles(1), doubles(2)])
    error = ("WrongOutputError", message)
    assert (answer.outputs, answer.errors) == ([None, None], {0: error, 1: error})


class BrokenOutputError(Exception):
    """An exception whose message cannot be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")


def raise_on_13(exc: BaseException) -> PredictFunction:
    def predict(xs: Any) -> list[str]:
        if any(x[0] == 13 for x in xs):
            raise exc
        return [str(x[0]) for x in xs]

    return predict


@pytest.mark.parametrize(
    ("exc", "error"),
    [
        (TypeError("no"), ("TypeError", "no")),
        (SystemExit("bye"), ("SystemExit", "bye")),
        (KeyboardInterrupt(), ("KeyboardInterrupt", "")),
        (asyncio.CancelledError(), ("CancelledError", "")),
        (BrokenOutputError(), ("BrokenOutputError", "<its message cannot be shown: ValueError>")),
        (RuntimeError("x" * 1000), ("RuntimeError", "x" * 499 + "…")),
    ],
)
def test_an_exception_costs_only_the_input_that_raises_it(exc: BaseException, error: tuple[str, str]) -> None:
    answer = runner(raise_on_13(exc)).run([doubles(1), doubles(13), doubles(2)])
    assert (answer.outputs, answer.errors) == ([b"1.0", None, b"2.0"], {1: error})


def test_an_exception_in_an_output_is_the_models() -> None:
    class Output:
        def __str__(self) -> str:
            raise LookupError("no word for it")

    answer = runner(lambda xs: [Output()]).run([doubles(1)])
    assert (answer.outputs, answer.errors) == ([None], {0: ("LookupError", "no word for it")})


def test_an_empty_batch_does_not_call_the_model() -> None:
    assert runner(raise_on_13(AssertionError())).run([]).outputs == []


def test_a_model_may_run_an_event_loop_of_its_own() -> None:
    async def answer() -> str:
        return "1"

    async def serve() -> list[bytes | None]:
        found = runner(lambda xs: [asyncio.run(answer())]).run([doubles(1)]).outputs
        await asyncio.sleep(0)  # the loop that serves still runs
        return found

    assert asyncio.run(serve()) == [b"1"]


def test_exceptions_are_grouped_by_where_they_were_raised() -> None:
    errors = ErrorLog()

    def predict(xs: Any) -> list[float]:
        if xs[0][0] < 0:
            raise ValueError(f"negative: {xs[0][0]}")
        return [{1.0: 1.0}[float(xs[0][0])]]

    served = runner(predict, errors=errors)
    for value in (-1.0, 0.0, -2.0):
        served.run([doubles(value)])
    missing, negative = errors.groups()
    assert (missing.type, missing.message, missing.count) == ("KeyError", "0.0", 1)
    assert (negative.type, negative.message, negative.count) == ("ValueError", "negative: -2.0", 2)
    assert negative.example_input == "[-2.0]"
    assert negative.first_time_s <= negative.last_time_s
    # The first frame shown is the model's, not ours.
    assert "serving_image/model_runner.py" not in negative.traceback
    assert 'raise ValueError(f"negative: {xs[0][0]}")' in negative.traceback


def test_the_log_keeps_the_newest_groups_only() -> None:
    errors = ErrorLog(capacity=2)
    for name in ("A", "B", "C"):
        errors.add(type(name, (Exception,), {})(), 0, now_s=0.0)
    assert [group.type for group in errors.groups()] == ["B", "C"]
    assert CAPACITY == 100


def test_a_long_example_is_shortened() -> None:
    group = ErrorLog().add(ValueError(), list(range(1000)), now_s=0.0)
    assert (len(group.example_input), group.example_input[-1]) == (200, "…")


def test_a_model_that_always_fails_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    served = runner(raise_on_13(TypeError("no")))
    for _ in range(99):
        served.run([doubles(13)])
    lines = [record.getMessage().splitlines()[0] for record in caplog.records]
    assert lines == ["model exception, seen 1 times:", "model exception, seen 10 times:"]
