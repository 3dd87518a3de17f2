"""Loads a model directory: the function that ``clipper_magic`` packed, where its imports and its sources are found."""

from __future__ import annotations

import importlib
import linecache
import logging
import sys
from pathlib import Path
from typing import Any

import msgspec

from serving_image.dataframes import on_dataframes
from serving_image.error_log import ErrorLog, message_of
from serving_image.input_types import JSON_TYPES, canonical, pack_all
from serving_image.json_models import from_wire
from serving_image.model_runner import ModelRunner, PredictFunction, WrongOutputError, neutral_inputs
from serving_image.user_metrics import of_this_process, provide_kernel_name

log = logging.getLogger(__name__)

FORMAT = 1
PROBE_SIZE = 2  # one input would not tell a function that returns one output from one that returns as many
IMPORT_ERROR = (
    "Encountered an ImportError when running container. You can use the pkgs_to_install argument when calling "
    "build_model() to supply any needed Python packages."
)


class ModelLoadError(Exception):
    """The model cannot be served, and why, in one line."""

    def __init__(self, cause: str) -> None:
        super().__init__(" ".join(cause.split()))


class ModelDescription(msgspec.Struct, frozen=True):
    """What ``model.json`` says.

    Attributes
    ----------
    python : str
        The minor version that pickled the function, as in "3.11".
    example : JSON value or None
        One input that the function accepts.
    loader : str
        One of `LOADERS`.
    sources : dict of str to str
        Texts of the notebook cells, by the file names that tracebacks show.
    packages : list of str
        Pinned requirements, for people to read.
    as_dataframe : bool
        Whether the function takes a batch of records as a pandas.DataFrame.
    """

    format: int
    name: str
    version: str
    input_type: str
    python: str
    example: Any = None
    loader: str = "python"
    sources: dict[str, str] = {}
    packages: list[str] = []
    as_dataframe: bool = False


LOADERS = ("python", "pytorch", "onnx", "sklearn")
"""How a model directory becomes a function of a batch: ``load_function`` of ``serving_image.loader_<name>``."""


def load_model(directory: Path, input_type: str, errors: ErrorLog) -> ModelRunner:
    """Load and try the model of a directory.

    Parameters
    ----------
    directory : pathlib.Path
        Holds ``model.json``, ``func.pkl``, and optionally ``packages/`` and ``modules/`` to import from.
    input_type : str
        Canonical: what the model is registered with; must be what the directory says.
    errors : ErrorLog
        Where the runner records the model's exceptions.

    Raises
    ------
    ModelLoadError
        If it cannot be served.
    """
    description = read_description(directory)
    if canonical(description.input_type) != input_type:
        raise ModelLoadError(
            f"the model takes {canonical(description.input_type)}, but is registered with {input_type}"
        )
    prepare_imports(directory, description)
    try:
        # Not imported before, because each needs its own framework.
        loader = importlib.import_module(f"serving_image.loader_{description.loader}")
        predict = adapted(loader.load_function(directory), description)
    except ModelLoadError:
        raise
    # Unpickling runs the user's code, and even its SystemExit has to end in one clear line.
    except BaseException as exc:
        raise explained("loading the model", exc) from exc
    runner = ModelRunner(predict, input_type, errors)
    warm_up(runner, description)
    of_this_process().start_over()  # nobody asked those queries
    return runner


def adapted(predict: Any, description: ModelDescription) -> PredictFunction:
    """Return a model function for batches in the form of `serving_image.model_runner.to_batch`."""
    if not callable(predict):
        raise ModelLoadError(f"the model is not a function but {type(predict).__name__}")
    if description.as_dataframe:
        columns = description.example if isinstance(description.example, dict) else ()
        predict = on_dataframes(predict, tuple(columns))
    function: PredictFunction = from_wire(predict) if canonical(description.input_type) == "json" else predict
    return function


def read_description(directory: Path) -> ModelDescription:
    """Return the description of a model directory, checked against this interpreter."""
    path = directory / "model.json"
    try:
        description = msgspec.json.decode(path.read_bytes(), type=ModelDescription)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ModelLoadError(f"cannot read {path}: {exc}") from exc
    if description.format != FORMAT:
        raise ModelLoadError(f"{path} has format {description.format}, expected {FORMAT}: deploy the model again")
    if description.loader not in LOADERS:
        raise ModelLoadError(f"no loader named {description.loader!r}, expected one of: {', '.join(LOADERS)}")
    running = python_version()
    if description.python != running:
        raise ModelLoadError(
            f"the model was saved with Python {description.python}, but this replica runs Python {running}: deploy it "
            f"from Python {running}, or serve it from an image with Python {description.python}"
        )
    return description


def python_version() -> str:
    """Return the minor version of this interpreter, as in "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def prepare_imports(directory: Path, description: ModelDescription) -> None:
    """Put what the model brought on the module path, and its cells where tracebacks look for source lines."""
    # In front, the user's own modules first: the versions asked for win over those that this environment happens to
    # have, except for what the serving code has already imported.
    folders = (directory / "modules", directory / "packages")
    sys.path[:0] = [str(folder) for folder in folders if folder.is_dir()]
    importlib.invalidate_caches()
    provide_kernel_name()
    for filename, text in description.sources.items():
        # Without a modification time, linecache never compares the entry with a file on disk.
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)


def warm_up(runner: ModelRunner, description: ModelDescription) -> None:
    """Call the model once before it serves, so that the first query does not pay for it and a broken model is found.

    With an example, any exception is a failure. Without one the model is tried with neutral inputs, which it may
    refuse; then only what no input can mend is a failure: a missing import, outputs that do not match the inputs.

    Raises
    ------
    ModelLoadError
    """
    if description.example is None:
        inputs = neutral_inputs(canonical(description.input_type), PROBE_SIZE)
    else:
        inputs = example_inputs(description)
    try:
        runner.call(inputs)
    except (WrongOutputError, ImportError) as exc:
        raise explained("trying the model", exc) from exc
    except BaseException as exc:
        if description.example is not None:
            raise explained("trying the model with its example", exc) from exc
        log.info(
            "the model refused a neutral input, which may be right (%s: %s); deploy with an example to have it tried",
            type(exc).__name__,
            message_of(exc),
        )


def example_inputs(description: ModelDescription) -> list[bytes | str]:
    """Return the description's example, as often as a probe needs it, in wire form."""
    json_type = JSON_TYPES[canonical(description.input_type)]
    try:
        return pack_all(
            canonical(description.input_type), [msgspec.convert(description.example, json_type)] * PROBE_SIZE
        )
    except msgspec.ValidationError as exc:
        raise ModelLoadError(f"the example is not of type {canonical(description.input_type)}: {exc}") from exc


def explained(doing: str, exc: BaseException) -> ModelLoadError:
    """Return the error that says what ``exc`` means for whoever deploys the model."""
    what = f"{type(exc).__name__}: {message_of(exc)}"
    if isinstance(exc, ImportError):
        return ModelLoadError(f"{IMPORT_ERROR} ({what})")
    return ModelLoadError(f"{doing} raised {what}")
