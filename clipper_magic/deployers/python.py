"""Deploy a Python function, with whatever it refers to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipper_magic.connection import ClipperConnection
from clipper_magic.deployers.common import deploy_directory, linked_application, save_function
from clipper_magic.log import get_logger
from clipper_magic.model_package import Loading


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
    as_dataframe: bool = False,
    detect_packages: bool = True,
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
    pkgs_to_install, example, as_dataframe, detect_packages
        See ``deploy_python_closure``.
    """
    with linked_application(clipper_conn, name, input_type, default_output, slo_micros):
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
            as_dataframe,
            detect_packages,
        )


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
    as_dataframe: bool = False,
    detect_packages: bool = True,
) -> None:
    """Deploy a function; returns when its replicas answer, and leaves everything as it was if they do not.

    Parameters
    ----------
    clipper_conn : ClipperConnection
    name, version : str
        Lower-case letters, digits and ``-``; the version must be new.
    input_type : str
        "integers", "floats", "doubles", "bytes", "strings" or "json".
    func : callable
        Takes a batch: a numpy array of shape (n, d) for numbers (a list of n arrays when lengths differ), else a
        list of n ``bytes``, ``str`` or JSON values (dicts, lists, texts, numbers, True, False, None).
        Returns n outputs. Clipper's rule: the ``str`` of an output, as JSON if it is JSON; of a function with input
        type "json", also dicts, lists and None become JSON.
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
    as_dataframe : bool
        With input type "json": the function takes a pandas.DataFrame with a row for each record of the batch, all of
        them with the same keys. Its columns are in the order of the example's keys, others behind them by name. The
        replica needs pandas then.
    detect_packages : bool
        Look for the packages that the function uses, and pin them; without it, only ``pkgs_to_install`` counts.

    Raises
    ------
    NotPicklableError, ModelCheckError
        If the function cannot leave the kernel, or the example is no such input.
    AlreadyRegisteredError, InputTypeError, InvalidNameError, ImageBuildError, ReplicaStartError
        See ``ClipperConnection.build_and_deploy_model``.

    Examples
    --------
    Images arrive as ``bytes``; a client sends them in base64::

        def width(images):
            from io import BytesIO

            from PIL import Image

            return [Image.open(BytesIO(image)).width for image in images]

        deploy_python_closure(clipper_conn, "width", 1, "bytes", width, example=Path("cat.png").read_bytes())

        body = {"input": base64.b64encode(Path("dog.png").read_bytes()).decode()}
        requests.post(f"http://{clipper_conn.get_query_addr()}/width/predict", json=body)

    Records arrive as dicts, or as the rows of a DataFrame::

        def price(houses):
            return houses["rooms"] * 20_000 + houses["garden"] * 5_000

        deploy_python_closure(clipper_conn, "price", 1, "json", price, as_dataframe=True)

        body = {"input": {"rooms": 4, "garden": True}}
        requests.post(f"http://{clipper_conn.get_query_addr()}/price/predict", json=body)
    """

    def save(directory: Path, text: str) -> None:
        loading = Loading(as_dataframe=as_dataframe, detect_packages=detect_packages)
        save_function(func, directory, name, text, input_type, example, loading)
        get_logger().info("Python closure saved")

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
