"""The public surface: what Clipper's users import, and each method with its signature."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

import clipper_magic
from clipper_magic import ClipperConnection
from clipper_magic.container_manager import CLIPPER_DOCKER_LABEL, DEFAULT_PREDICTION_CACHE_SIZE_BYTES

NOTHING = inspect.Parameter.empty
DEPLOY_TAIL = {"num_replicas": 1, "batch_size": -1, "pkgs_to_install": None}

# Clipper 0.4.1's methods: parameters in order, with their defaults.
METHODS: dict[str, dict[str, Any]] = {
    "__init__": {"container_manager": NOTHING},
    "start_clipper": {
        "query_frontend_image": f"{clipper_magic.__registry__}/query_frontend:{clipper_magic.__version__}",
        "mgmt_frontend_image": f"{clipper_magic.__registry__}/management_frontend:{clipper_magic.__version__}",
        "frontend_exporter_image": f"{clipper_magic.__registry__}/frontend-exporter:{clipper_magic.__version__}",
        "cache_size": 33554432,
        "qf_http_thread_pool_size": 1,
        "qf_http_timeout_request": 5,
        "qf_http_timeout_content": 300,
        "num_frontend_replicas": 1,
    },
    "connect": {},
    "register_application": {
        "name": NOTHING,
        "input_type": NOTHING,
        "default_output": NOTHING,
        "slo_micros": NOTHING,
    },
    "unregister_application": {"name": NOTHING},
    "delete_application": {"name": NOTHING},
    "link_model_to_app": {"app_name": NOTHING, "model_name": NOTHING},
    "unlink_model_from_app": {"app_name": NOTHING, "model_name": NOTHING},
    "build_and_deploy_model": {
        "name": NOTHING,
        "version": NOTHING,
        "input_type": NOTHING,
        "model_data_path": NOTHING,
        "base_image": NOTHING,
        "labels": None,
        "container_registry": None,
        **DEPLOY_TAIL,
    },
    "build_model": {
        "name": NOTHING,
        "version": NOTHING,
        "model_data_path": NOTHING,
        "base_image": NOTHING,
        "container_registry": None,
        "pkgs_to_install": None,
    },
    "deploy_model": {
        "name": NOTHING,
        "version": NOTHING,
        "input_type": NOTHING,
        "image": NOTHING,
        "labels": None,
        "num_replicas": 1,
        "batch_size": -1,
    },
    "register_model": {
        "name": NOTHING,
        "version": NOTHING,
        "input_type": NOTHING,
        "image": None,
        "labels": None,
        "batch_size": -1,
    },
    "get_current_model_version": {"name": NOTHING},
    "get_num_replicas": {"name": NOTHING, "version": None},
    "set_num_replicas": {"name": NOTHING, "num_replicas": NOTHING, "version": None},
    "get_all_apps": {"verbose": False},
    "get_app_info": {"name": NOTHING},
    "get_linked_models": {"app_name": NOTHING},
    "get_all_models": {"verbose": False},
    "get_model_info": {"name": NOTHING, "version": NOTHING},
    "get_all_model_replicas": {"verbose": False},
    "get_model_replica_info": {"name": NOTHING, "version": NOTHING, "replica_id": NOTHING},
    "get_clipper_logs": {"logging_dir": "clipper_logs/"},
    "inspect_instance": {},
    "set_model_version": {"name": NOTHING, "version": NOTHING, "num_replicas": None},
    "get_query_addr": {},
    "get_metric_addr": {},
    "stop_models": {"model_names": NOTHING},
    "stop_versioned_models": {"model_versions_dict": NOTHING},
    "stop_inactive_model_versions": {"model_names": NOTHING},
    "stop_all_model_containers": {},
    "stop_all": {"graceful": True},
    "test_predict_function": {"query": NOTHING, "func": NOTHING, "input_type": NOTHING},
}


def parameters(function: Any) -> dict[str, Any]:
    listed = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in listed if parameter.name != "self"}


@pytest.mark.parametrize("name", METHODS)
def test_method_has_clippers_signature(name: str) -> None:
    found = parameters(getattr(ClipperConnection, name))

    assert found == METHODS[name]
    assert list(found) == list(METHODS[name])


def test_connection_has_no_other_public_method() -> None:
    public = {name for name, _ in inspect.getmembers(ClipperConnection, inspect.isfunction) if name[0] != "_"}
    assert public == set(METHODS) - {"__init__"}


@pytest.mark.parametrize("name", METHODS)
def test_method_is_documented(name: str) -> None:
    assert (inspect.getdoc(getattr(ClipperConnection, name)) or "").strip()


# What stands between ``input_type`` and the options that all deployers have.
DEPLOYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "python": ("deploy_python_closure", {"func": NOTHING}),
    "pytorch": ("deploy_pytorch_model", {"func": NOTHING, "pytorch_model": NOTHING}),
    "onnx": ("deploy_onnx_model", {"func": NOTHING, "onnx_model": NOTHING}),
    "sklearn": ("deploy_sklearn_model", {"model": NOTHING, "method": "predict"}),
}


@pytest.mark.parametrize("name", DEPLOYERS)
def test_deployer_has_clippers_signature_and_our_options(name: str) -> None:
    deployer = import_module(f"clipper_magic.deployers.{name}")
    deploy, special = DEPLOYERS[name]
    ours: dict[str, Any] = {"example": None, "as_dataframe": False}
    if name == "python":
        ours["detect_packages"] = True
    expected = {
        deploy: {
            "clipper_conn": NOTHING,
            "name": NOTHING,
            "version": NOTHING,
            "input_type": NOTHING,
            **special,
            "base_image": "default",
            "labels": None,
            "registry": None,
            **DEPLOY_TAIL,
            **ours,
        },
        "create_endpoint": {
            "clipper_conn": NOTHING,
            "name": NOTHING,
            "input_type": NOTHING,
            **special,
            "default_output": "None",
            "version": 1,
            "slo_micros": 3000000,
            "labels": None,
            "registry": None,
            "base_image": "default",
            **DEPLOY_TAIL,
            **ours,
        },
    }
    for function, wanted in expected.items():
        found = parameters(getattr(deployer, function))
        assert found == wanted
        assert list(found) == list(wanted)
        assert (inspect.getdoc(getattr(deployer, function)) or "").strip()
    assert name in clipper_magic.deployers.__all__


@pytest.mark.parametrize("name", sorted({*clipper_magic.__all__} - {"DockerContainerManager"}))
def test_public_name_exists(name: str) -> None:
    assert getattr(clipper_magic, name) is not None
    assert name in dir(clipper_magic)


def test_constants_are_clippers() -> None:
    assert clipper_magic.CLIPPER_TEMP_DIR == "/tmp/clipper"
    assert DEFAULT_PREDICTION_CACHE_SIZE_BYTES == clipper_magic.DEFAULT_PREDICTION_CACHE_SIZE_BYTES == 33554432
    assert list(clipper_magic.DEFAULT_LABEL) == []
    assert CLIPPER_DOCKER_LABEL == "ai.clipper.container.label"
    assert clipper_magic.__registry__ == os.environ.get("CLIPPER_REGISTRY", "clipper")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'KubernetesContainerManager'"):
        _ = clipper_magic.KubernetesContainerManager


def modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys, logging; assert not logging.getLogger().handlers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import clipper_magic")
    assert loaded.isdisjoint({"IPython", "circus", "cloudpickle", "docker", "numpy", "requests", "tornado", "zmq"})


def test_the_kernel_never_loads_the_supervisors_library() -> None:
    loaded = modules_after("from clipper_magic import ClipperConnection, LocalContainerManager")
    assert loaded.isdisjoint({"IPython", "circus", "docker", "tornado", "uvloop"})
