"""Deploy a PyTorch module, and a function that is called with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipper_magic.connection import ClipperConnection
from clipper_magic.deployers.common import deploy_directory, linked_application, save_function
from clipper_magic.exceptions import InvalidArgumentError
from clipper_magic.log import get_logger
from clipper_magic.model_package import Loading, Pickled, RecordingPickler, pickle_object

if TYPE_CHECKING:
    import torch


def create_endpoint(
    clipper_conn: ClipperConnection,
    name: str,
    input_type: str,
    func: Callable[[Any, Any], Any],
    pytorch_model: torch.nn.Module,
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
    """Register an application, deploy a PyTorch module and link them, under one name.

    If the deployment fails, the application is unregistered again.

    Parameters
    ----------
    default_output : str
        Answered when no prediction comes within the SLO.
    slo_micros : int
        Latency objective in microseconds.
    clipper_conn, name, input_type, func, pytorch_model, version, labels, registry, base_image, num_replicas,
    batch_size, pkgs_to_install, example, as_dataframe
        See ``deploy_pytorch_model``.
    """
    with linked_application(clipper_conn, name, input_type, default_output, slo_micros):
        deploy_pytorch_model(
            clipper_conn,
            name,
            version,
            input_type,
            func,
            pytorch_model,
            base_image,
            labels,
            registry,
            num_replicas,
            batch_size,
            pkgs_to_install,
            example,
            as_dataframe,
        )


def deploy_pytorch_model(
    clipper_conn: ClipperConnection,
    name: str,
    version: str | int,
    input_type: str,
    func: Callable[[Any, Any], Any],
    pytorch_model: torch.nn.Module,
    base_image: str = "default",
    labels: Sequence[str] | None = None,
    registry: str | None = None,
    num_replicas: int = 1,
    batch_size: int = -1,
    pkgs_to_install: Sequence[str] | None = None,
    example: Any = None,
    as_dataframe: bool = False,
) -> None:
    """Deploy a PyTorch module; the replica calls ``func(pytorch_model, inputs)``.

    Parameters
    ----------
    func : callable
        Takes the module and a batch of n inputs, returns n outputs. The module is on the CPU and in evaluation mode,
        and no gradients are kept.
    pytorch_model : torch.nn.Module
        Its class may be of a notebook's own.
    clipper_conn, name, version, input_type, base_image, labels, registry, num_replicas, batch_size, pkgs_to_install,
    example, as_dataframe
        See ``deployers.python.deploy_python_closure``.

    Raises
    ------
    InvalidArgumentError
        If ``pytorch_model`` is no module, or one that ``torch.jit`` has compiled.
    DeployError, ClipperException
        As ``deploy_python_closure`` does.

    Examples
    --------
    ::

        def classify(model, inputs):
            return model(torch.from_numpy(inputs)).argmax(dim=1).tolist()

        deploy_pytorch_model(clipper_conn, "digits", 1, "floats", classify, model, example=[0.0] * 64)
    """

    def save(directory: Path, text: str) -> None:
        loading = Loading("pytorch", as_dataframe, save_module(pytorch_model, directory), frozenset({"torch"}))
        save_function(func, directory, name, text, input_type, example, loading)
        get_logger().info("Torch model saved")

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


def save_module(module: torch.nn.Module, directory: Path) -> Mapping[str, Pickled]:
    """Write the parameters and buffers of a module into a directory; return the pickle of the rest, by file name.

    Raises
    ------
    InvalidArgumentError
        If it is none, or one that ``torch.jit`` has compiled: pickles cannot hold those.
    NotPicklableError
    """
    import torch

    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        expected = "a torch.nn.Module that torch.jit has not compiled"
        value = type(module).__name__
        raise InvalidArgumentError.of("bad-argument", argument="pytorch_model", value=value, expected=expected)
    from serving_image.loader_pytorch import MODULE_FILE, WEIGHTS_FILE, ModuleUnpickler

    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    torch.save(tensors, directory / WEIGHTS_FILE)
    names = {id(tensor): name for name, tensor in tensors.items()}
    rest = pickle_object(
        module,
        new_pickler=partial(_ModulePickler, names=names),
        load=lambda file: ModuleUnpickler(file, tensors).load(),
    )
    return {MODULE_FILE: rest}


class _ModulePickler(RecordingPickler):
    """Writes a module with the names of its tensors in their places; see ``serving_image.loader_pytorch``."""

    def __init__(self, file: BytesIO, names: Mapping[int, str]) -> None:
        super().__init__(file)
        self._names = names

    def persistent_id(self, obj: Any) -> str | None:
        return self._names.get(id(obj))
