"""Deploy an ONNX model, and a function that is called with its session of onnxruntime."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipper_magic.connection import ClipperConnection
from clipper_magic.deployers.common import deploy_directory, linked_application, save_function
from clipper_magic.exceptions import InvalidArgumentError
from clipper_magic.log import get_logger
from clipper_magic.model_package import Loading

if TYPE_CHECKING:
    import onnx
    import onnxruntime

MODEL_FILE = "model.onnx"


def create_endpoint(
    clipper_conn: ClipperConnection,
    name: str,
    input_type: str,
    func: Callable[[onnxruntime.InferenceSession, Any], Any],
    onnx_model: onnx.ModelProto | bytes | str | PathLike[str],
    default_output: str = "None",
    version: str | int = 1,
    slo_micros: int = 3_000_000,
    labels: Sequence[str] | None = None,
    registry: str | None = None,
    base_image: str = "default",
    num_replicas: int = 1,
    batch_size: int = -1,
    pkgs_to_install: Sequence[str] | None = None,
    example: Any = None,
    as_dataframe: bool = False,
) -> None:
    """Register an application, deploy an ONNX model and link them, under one name.

    If the deployment fails, the application is unregistered again.

    Parameters
    ----------
    default_output : str
        Answered when no prediction comes within the SLO.
    slo_micros : int
        Latency objective in microseconds.
    clipper_conn, name, input_type, func, onnx_model, version, labels, registry, base_image, num_replicas, batch_size,
    pkgs_to_install, example, as_dataframe
        See ``deploy_onnx_model``.
    """
    with linked_application(clipper_conn, name, input_type, default_output, slo_micros):
        deploy_onnx_model(
            clipper_conn,
            name,
            version,
            input_type,
            func,
            onnx_model,
            base_image,
            labels,
            registry,
            num_replicas,
            batch_size,
            pkgs_to_install,
            example,
            as_dataframe,
        )


def deploy_onnx_model(
    clipper_conn: ClipperConnection,
    name: str,
    version: str | int,
    input_type: str,
    func: Callable[[onnxruntime.InferenceSession, Any], Any],
    onnx_model: onnx.ModelProto | bytes | str | PathLike[str],
    base_image: str = "default",
    labels: Sequence[str] | None = None,
    registry: str | None = None,
    num_replicas: int = 1,
    batch_size: int = -1,
    pkgs_to_install: Sequence[str] | None = None,
    example: Any = None,
    as_dataframe: bool = False,
) -> None:
    """Deploy an ONNX model; the replica calls ``func(session, inputs)``.

    Parameters
    ----------
    func : callable
        Takes an ``onnxruntime.InferenceSession`` (on the CPU) and a batch of n inputs, returns n outputs.
    onnx_model : onnx.ModelProto, bytes or path
        The model, the bytes of its file, or where its file is. Files of external data must be beside it and have
        names that begin with its own, as ``torch.onnx.export`` writes them.
    clipper_conn, name, version, input_type, base_image, labels, registry, num_replicas, batch_size, pkgs_to_install,
    example, as_dataframe
        See ``deployers.python.deploy_python_closure``.

    Raises
    ------
    InvalidArgumentError
        If ``onnx_model`` is none of these.
    DeployError, ClipperException
        As ``deploy_python_closure`` does.

    Examples
    --------
    ::

        def classify(session, inputs):
            return session.run(["label"], {"X": inputs})[0].tolist()

        deploy_onnx_model(clipper_conn, "digits", 1, "floats", classify, "digits.onnx", example=[0.0] * 64)
    """

    def save(directory: Path, text: str) -> None:
        save_model(onnx_model, directory)
        loading = Loading("onnx", as_dataframe, modules=frozenset({"onnxruntime"}))
        save_function(func, directory, name, text, input_type, example, loading)
        get_logger().info("ONNX model saved")

    deploy_directory(
        save,
        clipper_conn,
        name,
        version,
        input_type,
        base_image,
        labels,
        registry,
        num_replicas,
        batch_size,
        pkgs_to_install,
    )


def save_model(onnx_model: onnx.ModelProto | bytes | str | PathLike[str], directory: Path) -> None:
    """Write an ONNX model into a directory, with its external data."""
    if isinstance(onnx_model, str | PathLike):
        copy_model(Path(onnx_model), directory)
        return
    data = onnx_model.SerializeToString() if hasattr(onnx_model, "SerializeToString") else onnx_model
    if not isinstance(data, bytes):
        expected = "an onnx.ModelProto, the bytes of a model, or the path of its file"
        value = type(onnx_model).__name__
        raise InvalidArgumentError.of("bad-argument", argument="onnx_model", value=value, expected=expected)
    (directory / MODEL_FILE).write_bytes(data)


def copy_model(path: Path, directory: Path) -> None:
    """Copy the file of a model, and those of its external data, which keep the names that the model knows."""
    if not path.is_file():
        expected = "the path of a file"
        raise InvalidArgumentError.of("bad-argument", argument="onnx_model", value=repr(str(path)), expected=expected)
    for source in path.parent.iterdir():
        if source.name.startswith(path.name) and source.is_file():
            shutil.copy(source, directory / (MODEL_FILE if source == path else source.name))
