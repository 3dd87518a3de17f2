"""Deploy a Python function, with whatever it refers to."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipper_magic.connection import ClipperConnection
from clipper_magic.log import get_logger
from clipper_magic.model_package import pack_function
from clipper_magic.names import check_deployable


def create_endpoint(
    clipper_conn: ClipperConnection,
    name: str,
    input_type: str,
    func: Callable[[Any], Any],
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
) -> None:
    """Register an application, deploy a function and link them, under one name.

    If the deployment fails, the application is unregistered again.

    Parameters
    ----------
    default_output : str
        Answered when no prediction comes within the SLO.
    slo_micros : int
        Latency objective in microseconds.
    clipper_conn, name, input_type, func, version, labels, registry, base_image, num_replicas, batch_size,
    pkgs_to_install, example
        See ``deploy_python_closure``.
    """
    clipper_conn.register_application(name, input_type, default_output, slo_micros)
    try:
        deploy_python_closure(
            clipper_conn,
            name,
            version,
            input_type,
            func,
            base_image,
            labels,
            registry,
            num_replicas,
            batch_size,
            pkgs_to_install,
            example,
        )
        clipper_conn.link_model_to_app(name, name)
    except BaseException:
        clipper_conn.unregister_application(name)
        raise


def deploy_python_closure(
    clipper_conn: ClipperConnection,
    name: str,
    version: str | int,
    input_type: str,
    func: Callable[[Any], Any],
    base_image: str = "default",
    labels: Sequence[str] | None = None,
    registry: str | None = None,
    num_replicas: int = 1,
    batch_size: int = -1,
    pkgs_to_install: Sequence[str] | None = None,
    example: Any = None,
) -> None:
    """Deploy a function; returns when its replicas answer, and leaves everything as it was if they do not.

    Parameters
    ----------
    clipper_conn : ClipperConnection
    name, version : str
        Lower-case letters, digits and ``-``; the version must be new.
    input_type : str
        "integers", "floats", "doubles", "bytes" or "strings".
    func : callable
        Takes a batch: a numpy array of shape (n, d) for numbers (a list of n arrays when lengths differ), else a
        list of n ``bytes`` or ``str``. Returns n outputs.
    base_image : str
        "default", or the image to build from where the backend has images.
    labels : sequence of str, optional
    registry : str, optional
        Put in front of the image's name.
    num_replicas : int
    batch_size : int
        Largest batch, or -1 for adaptive batching.
    pkgs_to_install : sequence of str, optional
        Requirements as pip takes them, beyond what the function is seen to use.
    example : optional
        One input. The replica calls the function with it before it serves; if that fails, so does the deployment.

    Raises
    ------
    NotPicklableError, ModelCheckError
        If the function cannot leave the kernel, or the example is no such input.
    AlreadyRegisteredError, InputTypeError, InvalidNameError, ImageBuildError, ReplicaStartError
        See ``ClipperConnection.build_and_deploy_model``.
    """
    text = check_deployable(name, version)
    directory = Path(tempfile.mkdtemp(suffix="clipper"))
    try:
        save_function(func, directory, name, text, input_type, example)
        if base_image == "default":
            get_logger().info("Using Python %d.%d base image", *sys.version_info[:2])
        clipper_conn.build_and_deploy_model(
            name,
            text,
            input_type,
            str(directory),
            base_image,
            labels,
            registry,
            num_replicas,
            batch_size,
            pkgs_to_install,
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def save_function(
    func: Callable[[Any], Any], directory: Path, name: str, version: str, input_type: str, example: Any
) -> None:
    """Write the model directory of a function, and log what was found in it."""
    logger = get_logger()
    logger.info("Saving function to %s", directory)
    package = pack_function(func, directory, name, version, input_type, example)
    logger.info("Serialized and supplied predict function")
    if package.packages:
        logger.info("The function uses %s", ", ".join(package.packages))
    if package.local_modules:
        logger.info("Shipping local modules %s", ", ".join(package.local_modules))
    logger.info("Python closure saved")
