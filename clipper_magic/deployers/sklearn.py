"""Deploy a fitted scikit-learn model as it is: its own method is the function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipper_magic.connection import ClipperConnection
from clipper_magic.deployers.common import deploy_directory, linked_application, save_function
from clipper_magic.exceptions import InvalidArgumentError
from clipper_magic.log import get_logger
from clipper_magic.model_package import Loading

METHODS = ("predict", "predict_proba", "decision_function")


def create_endpoint(
    clipper_conn: ClipperConnection,
    name: str,
    input_type: str,
    model: Any,
    method: str = "predict",
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
    """Register an application, deploy a scikit-learn model and link them, under one name.

    If the deployment fails, the application is unregistered again.

    Parameters
    ----------
    default_output : str
        Answered when no prediction comes within the SLO.
    slo_micros : int
        Latency objective in microseconds.
    clipper_conn, name, input_type, model, method, version, labels, registry, base_image, num_replicas, batch_size,
    pkgs_to_install, example, as_dataframe
        See ``deploy_sklearn_model``.
    """
    with linked_application(clipper_conn, name, input_type, default_output, slo_micros):
        deploy_sklearn_model(
            clipper_conn,
            name,
            version,
            input_type,
            model,
            method,
            base_image,
            labels,
            registry,
            num_replicas,
            batch_size,
            pkgs_to_install,
            example,
            as_dataframe,
        )


def deploy_sklearn_model(
    clipper_conn: ClipperConnection,
    name: str,
    version: str | int,
    input_type: str,
    model: Any,
    method: str = "predict",
    base_image: str = "default",
    labels: Sequence[str] | None = None,
    registry: str | None = None,
    num_replicas: int = 1,
    batch_size: int = -1,
    pkgs_to_install: Sequence[str] | None = None,
    example: Any = None,
    as_dataframe: bool = False,
) -> None:
    """Deploy a fitted scikit-learn model; the replica calls ``model.<method>(inputs)``.

    Parameters
    ----------
    model : estimator or pipeline
        Fitted; anything with scikit-learn's methods.
    method : str
        "predict", "predict_proba" or "decision_function". Its outputs become JSON: numbers, labels, or lists of them.
    as_dataframe : bool
        With input type "json": the model takes a pandas.DataFrame, as a pipeline with a ``ColumnTransformer`` does. It
        has the columns that the model was fitted with, whatever else is in a record.
    clipper_conn, name, version, input_type, base_image, labels, registry, num_replicas, batch_size, pkgs_to_install,
    example
        See ``deployers.python.deploy_python_closure``.

    Raises
    ------
    InvalidArgumentError
        If the model has no such method.
    DeployError, ClipperException
        As ``deploy_python_closure`` does.

    Examples
    --------
    ::

        model = LogisticRegression().fit(X, y)
        deploy_sklearn_model(clipper_conn, "digits", 1, "doubles", model, "predict_proba", example=X[0])
    """
    function = model_method(model, method)

    def save(directory: Path, text: str) -> None:
        save_function(function, directory, name, text, input_type, example, Loading("sklearn", as_dataframe))
        get_logger().info("scikit-learn model saved")

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


def model_method(model: Any, method: str) -> Any:
    """Return a bound method of a model.

    Raises
    ------
    InvalidArgumentError
        If it is none of the three, or the model does not have it.
    """
    # A model may have a method and take it back, as SVC does without probability=True.
    offered = [name for name in METHODS if callable(getattr(model, name, None))]
    if method not in offered:
        kind, every = type(model).__name__, ", ".join(METHODS)
        expected = (
            f"a method of {kind}: {', '.join(offered)}" if offered else f"a model with one of the methods {every}"
        )
        raise InvalidArgumentError.of("bad-argument", argument="method", value=repr(method), expected=expected)
    return getattr(model, method)
