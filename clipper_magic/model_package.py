"""Pack a function into a model directory: what a replica needs to load it, and nothing else.

::

    func.pkl      the function, by cloudpickle; functions of local modules by value
    …             what else its loader needs (``Loading.parts`` are pickles like this one)
    model.json    name, version, input type, Python, example, source lines, pinned packages
    modules/      local modules that the function imports while it runs
"""

from __future__ import annotations

import base64
import io
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

import cloudpickle
import msgspec

from clipper_magic.dependencies import (
    copy_modules,
    imported_names,
    is_local,
    local_modules,
    module_path,
    pinned_requirements,
    top_level,
)
from clipper_magic.exceptions import InvalidArgumentError, ModelCheckError, NotPicklableError
from clipper_magic.json_inputs import as_json_value
from clipper_magic.names import check_input_type
from clipper_magic.pickle_diagnosis import find_culprit
from serving_image.input_types import JSON_TYPES

FORMAT = 1
SOURCE_LIMIT_CHARS = 1_000_000


class ModelDescription(msgspec.Struct, frozen=True):
    """What ``model.json`` holds; ``serving_image.model_loader`` reads it.

    ``python`` is "major.minor"; ``sources`` maps file names, as tracebacks show them, to texts; ``packages`` are
    pinned requirements.
    """

    format: int
    name: str
    version: str
    input_type: str
    python: str
    example: Any
    loader: str
    sources: dict[str, str]
    packages: list[str]
    as_dataframe: bool


class Package(NamedTuple):
    """What was found while packing: pinned requirements, and local modules that travel along."""

    packages: list[str]
    local_modules: list[str]


class Pickled(NamedTuple):
    """A pickled function, the functions that were pickled by value, and the modules that it refers to."""

    payload: bytes
    functions: list[FunctionType]
    modules: set[str]


@dataclass(frozen=True)
class Loading:
    """How a replica loads what is packed.

    Parameters
    ----------
    loader : str
        A module ``serving_image.loader_<loader>``.
    as_dataframe : bool
        Whether the function takes the records of a batch as one pandas.DataFrame.
    parts : mapping of str to Pickled
        More pickles, by the names of their files.
    modules : frozenset of str
        What the loader imports.
    detect_packages : bool
        Whether the packages that the function uses are looked for.
    """

    loader: str = "python"
    as_dataframe: bool = False
    parts: Mapping[str, Pickled] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    detect_packages: bool = True


PYTHON = Loading()


def pack_function(
    func: Callable[..., Any],
    directory: Path,
    name: str,
    version: str,
    input_type: str,
    example: Any = None,
    loading: Loading = PYTHON,
) -> Package:
    """Write the model directory of a function.

    Parameters
    ----------
    func : callable
        Takes a batch of n inputs, behind whatever else its loader calls it with; returns n outputs.
    directory : Path
        Exists; has only what the loader reads beside the pickles.
    name, version, input_type : str
    example : optional
        One input as a client would send it (bytes as ``bytes``, vectors as lists or arrays).
    loading : Loading

    Returns
    -------
    Package

    Raises
    ------
    NotPicklableError
        With the object that cannot be pickled and the variable that holds it.
    ModelCheckError
        If the example is no input of that type.
    InvalidArgumentError
        If DataFrames are asked for, and inputs are no records.
    """
    if not callable(func):
        raise NotPicklableError.of("not-callable", value=repr(func))
    kind = check_input_type(input_type)
    if loading.as_dataframe and kind != "json":
        expected = f"False for input type {kind}"
        raise InvalidArgumentError.of("bad-argument", argument="as_dataframe", value="True", expected=expected)
    checked = example_as_json(example, kind)
    pickles = {"func.pkl": pickle_object(func), **loading.parts}
    functions = [function for pickled in pickles.values() for function in pickled.functions]
    inner_imports = {module for function in functions for module in imported_names(function.__code__)}
    carried = local_modules(inner_imports)
    copy_modules(carried, directory / "modules")
    wanted = loading.modules | ({"pandas"} if loading.as_dataframe else set())
    used = inner_imports.union(*(pickled.modules for pickled in pickles.values())) if loading.detect_packages else set()
    packages = requirements(used, wanted)
    description = ModelDescription(
        format=FORMAT,
        name=name,
        version=version,
        input_type=kind,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        example=checked,
        loader=loading.loader,
        sources=source_texts(functions),
        packages=packages,
        as_dataframe=loading.as_dataframe,
    )
    for file_name, pickled in pickles.items():
        (directory / file_name).write_bytes(pickled.payload)
    (directory / "model.json").write_bytes(msgspec.json.encode(description))
    by_value = [module for module in top_level(f.__module__ or "" for f in functions) if is_local(module)]
    return Package(packages, sorted({*by_value, *carried}))


def requirements(modules: set[str], wanted: Set[str]) -> list[str]:
    """Return what to install: pins for what this kernel has, plain names for what is ``wanted`` and not here."""
    absent = {module for module in wanted if module_path(module) is None}
    return sorted({*pinned_requirements(modules | wanted), *absent})


def pickle_object(
    value: Any,
    new_pickler: Callable[[io.BytesIO], RecordingPickler] | None = None,
    load: Callable[[io.BytesIO], Any] = cloudpickle.load,
) -> Pickled:
    """Pickle a function or a model, with what it uses of local modules by value, and check that it loads again.

    Parameters
    ----------
    value : object
    new_pickler, load : callable
        For a form of pickle that is not cloudpickle's own.

    Raises
    ------
    NotPicklableError
    """
    shown = getattr(value, "__name__", type(value).__name__)
    buffer = io.BytesIO()
    with local_modules_by_value():
        pickler = (new_pickler or RecordingPickler)(buffer)
        try:
            pickler.dump(value)
        except Exception as err:  # whatever a user's object raises when it is pickled
            culprit = find_culprit(value, err)
            raise NotPicklableError.of(
                "not-picklable", function=shown, culprit=str(culprit), reason=culprit.reason
            ) from err
    try:
        load(io.BytesIO(buffer.getvalue()))
    except Exception as err:
        reason = f"{type(err).__name__}: {err}"
        raise NotPicklableError.of("not-loadable", function=shown, reason=reason) from err
    return Pickled(buffer.getvalue(), pickler.functions, pickler.modules)


class RecordingPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """A cloudpickle pickler that notes which functions it writes by value, and which modules it refers to."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.functions: list[FunctionType] = []
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Note the object, then let cloudpickle decide."""
        result = super().reducer_override(obj)
        if isinstance(obj, FunctionType) and result is not NotImplemented:
            self.functions.append(obj)
        else:
            self.modules.add(_module_of(obj))
        return result


def _module_of(obj: Any) -> str:
    if isinstance(obj, ModuleType):
        return obj.__name__
    named = obj if isinstance(obj, type | FunctionType | BuiltinFunctionType) else type(obj)
    module = getattr(named, "__module__", "")
    return module if isinstance(module, str) else ""


@contextmanager
def local_modules_by_value() -> Iterator[None]:
    """Have cloudpickle write what comes from local modules by value: a replica cannot import them."""
    already = cloudpickle.list_registry_pickle_by_value()
    names = [name for name in top_level(list(sys.modules)) if name not in already and is_local(name)]
    modules = [sys.modules[name] for name in names if isinstance(sys.modules.get(name), ModuleType)]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def source_texts(functions: list[FunctionType]) -> dict[str, str]:
    """Return the source of each file that these functions are from: cells of a notebook, or scripts.

    A replica has neither, and shows their lines in tracebacks all the same.
    """
    names = {function.__code__.co_filename for function in functions}
    texts = {name: "".join(linecache.getlines(name)) for name in sorted(names)}
    return {name: text for name, text in texts.items() if 0 < len(text) <= SOURCE_LIMIT_CHARS}


def example_as_json(example: Any, kind: str) -> Any:
    """Return an example input as JSON has it (bytes in base64), checked; None stays None.

    Raises
    ------
    ModelCheckError
        If it is no input of type ``kind``.
    """
    if example is None:
        return None
    try:
        value = _client_value(example, kind)
        msgspec.convert(value, JSON_TYPES[kind])
    except ValueError as err:  # a ValidationError is one, too
        raise ModelCheckError.of("bad-example", example=repr(example), input_type=kind, reason=str(err)) from err
    return value


def _client_value(example: Any, kind: str) -> Any:
    if kind == "json":
        return as_json_value(example)
    value = example.tolist() if hasattr(example, "tolist") else example
    if isinstance(value, bytes | bytearray):
        value = base64.b64encode(value).decode()
    return value
