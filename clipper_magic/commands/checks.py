"""``test``, and ``--check``: call a function here as a replica would, before anything is built."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import clipper_magic
from clipper_magic.commands import cells
from clipper_magic.commands.grammar import Command, Parameter
from clipper_magic.commands.inputs import as_function_gets_it, inputs_of
from clipper_magic.commands.kinds import FLAG, FUNCTION, JSON, text
from clipper_magic.commands.session import Session
from clipper_magic.exceptions import ModelCheckError
from clipper_magic.names import check_input_type
from serving_image.dataframes import on_dataframes

if TYPE_CHECKING:
    from clipper_magic.connection import ClipperConnection

_OURS = str(Path(clipper_magic.__file__).parent)


def check_here(
    session: Session,
    connection: ClipperConnection,
    args: SimpleNamespace,
    function: Callable[..., Any],
    input_type: str,
) -> None:
    """Run the function on the inputs of ``--check``, as a batch; its own exception is shown with its own lines.

    The first of the inputs becomes the example that replicas warm up with, unless there is one.

    Raises
    ------
    ModelCheckError
    """
    __tracebackhide__ = True
    key, typed = inputs_of(args.check, input_type)
    value = as_function_gets_it(typed, input_type)
    try:
        called = on_dataframes(function) if args.as_dataframe else function
        outputs = connection.test_predict_function({key: value}, called, input_type)
    except Exception as exc:
        session.area.details += cells.with_cell_names(session.shell, own_traceback(exc)).splitlines()
        fields = {"function": args.func, "error": type(exc).__name__, "reason": str(exc).rstrip(".")}
        raise ModelCheckError.of("check-raised", **fields) from exc
    if isinstance(outputs, str):
        raise ModelCheckError.of("check-refused", function=args.func, reason=outputs, input_type=input_type)
    inputs = value if key == "input_batch" else [value]
    if not hasattr(outputs, "__len__"):
        raise ModelCheckError.of("check-no-list", function=args.func, value=repr(outputs))
    if len(outputs) != len(inputs):
        raise ModelCheckError.of("check-wrong-length", function=args.func, wanted=len(inputs), got=len(outputs))
    if args.example is None:
        args.example = inputs[0]
    session.say("deploy.checked", outputs=repr([str(output) for output in outputs]))


def own_traceback(exc: BaseException) -> str:
    """Return the traceback of an exception without the frames of this package."""
    own = [frame for frame in traceback.extract_tb(exc.__traceback__) if not frame.filename.startswith(_OURS)]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(own)]
    lines += traceback.format_exception_only(exc)
    return "".join(lines)


def test(session: Session, args: SimpleNamespace) -> Any:
    """``test_predict_function``: what the function returns for an input, run here after a trip through pickle."""
    __tracebackhide__ = True
    from clipper_magic.connection import ClipperConnection

    function = cells.find_function(session.shell, args.func)
    input_type = check_input_type(args.input_type)
    key, value = inputs_of(args.json, input_type)
    query = {key: as_function_gets_it(value, input_type)}
    connection = session.connection or ClipperConnection(session.any_manager())
    called = on_dataframes(function) if args.as_dataframe else function
    outputs = connection.test_predict_function(query, called, input_type)
    if isinstance(outputs, str):
        raise ModelCheckError.of("check-refused", function=args.func, reason=outputs, input_type=input_type)
    return outputs


AS_DATAFRAME = Parameter("--as-dataframe", FLAG)

COMMANDS = (
    Command(
        "test",
        test,
        (
            Parameter("FUNC", FUNCTION, required=True),
            Parameter("JSON", JSON, required=True),
            Parameter("--input-type", text("T", "input_type"), required=True),
            AS_DATAFRAME,
        ),
    ),
)
