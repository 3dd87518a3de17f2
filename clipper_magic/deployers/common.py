"""The steps that all deployers share: an application around it, a model directory, an image, replicas."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clipper_magic.connection import ClipperConnection
from clipper_magic.log import get_logger
from clipper_magic.model_package import Loading, pack_function
from clipper_magic.names import check_deployable


@contextmanager
def linked_application(
    clipper_conn: ClipperConnection, name: str, input_type: str, default_output: str, slo_micros: int
) -> Iterator[None]:
    """Register an application, and link the model of the same name that the block deploys.

    If the block or the link fails, the application is unregistered again.
    """
    clipper_conn.register_application(name, input_type, default_output, slo_micros)
    try:
        yield
        clipper_conn.link_model_to_app(name, name)
    except BaseException:
        clipper_conn.unregister_application(name)
        raise


def deploy_directory(
    save: Callable[[Path, str], None],
    clipper_conn: ClipperConnection,
    name: str,
    version: str | int,
    input_type: str,
    base_image: str,
    labels: Sequence[str] | None,
    registry: str | None,
    num_replicas: int,
    batch_size: int,
    pkgs_to_install: Sequence[str] | None,
) -> None:
    """Have a model saved into a directory, deploy it from there, and remove the directory.

    Parameters
    ----------
    save : callable
        Writes the model directory, given an empty one and the version as text.
    clipper_conn, name, version, input_type, base_image, labels, registry, num_replicas, batch_size, pkgs_to_install
        See ``deployers.python.deploy_python_closure``.
    """
    text = check_deployable(name, version)
    directory = Path(tempfile.mkdtemp(suffix="clipper"))
    try:
        save(directory, text)
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
    func: Callable[..., Any],
    directory: Path,
    name: str,
    version: str,
    input_type: str,
    example: Any = None,
    loading: Loading | None = None,
) -> None:
    """Write the model directory of a function, and log what was found in it."""
    logger = get_logger()
    logger.info("Saving function to %s", directory)
    package = pack_function(func, directory, name, version, input_type, example, loading or Loading())
    logger.info("Serialized and supplied predict function")
    if package.packages:
        # The magics make a sentence of the list.
        logger.info("The function uses %s", ", ".join(package.packages), extra={"packages": package.packages})
    if package.local_modules:
        logger.info("Shipping local modules %s", ", ".join(package.local_modules))
