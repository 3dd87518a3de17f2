"""How a PyTorch module is saved: its tensors once, everything else beside them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from requirements import require_modules

from clipper_magic.deployers.pytorch import save_module
from clipper_magic.exceptions import InvalidArgumentError, NotPicklableError


@pytest.fixture(scope="module")
def torch() -> Any:
    require_modules("torch")
    import torch

    return torch


def test_tensors_are_saved_once_and_shared_ones_stay_shared(torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(200, 200), torch.nn.ReLU(), torch.nn.Linear(200, 200))
    module[2].weight = module[0].weight
    module[0].bias.requires_grad_(False)

    parts = save_module(module, tmp_path)

    weights_bytes, rest_bytes = (tmp_path / "weights.pt").stat().st_size, len(parts["module.pkl"].payload)
    assert weights_bytes < 1.2 * 4 * (200 * 200 + 2 * 200)
    assert rest_bytes < 5_000

    from serving_image.loader_pytorch import load_function

    (tmp_path / "module.pkl").write_bytes(parts["module.pkl"].payload)
    (tmp_path / "func.pkl").write_bytes(_pickled(lambda model, inputs: (model, inputs)))
    loaded, _ = load_function(tmp_path)([])
    assert loaded[2].weight is loaded[0].weight
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in module.parameters()]
    assert not loaded.training
    inputs = torch.rand(3, 200)
    assert torch.equal(loaded(inputs), module(inputs))


def test_what_is_no_tensor_travels_along(torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)
    module.labels = ["cat", "dog"]
    module.hidden = torch.arange(3)  # neither parameter nor buffer
    (tmp_path / "module.pkl").write_bytes(save_module(module, tmp_path)["module.pkl"].payload)
    (tmp_path / "func.pkl").write_bytes(_pickled(lambda model, inputs: [model.labels, model.hidden.tolist()]))

    from serving_image.loader_pytorch import load_function

    assert load_function(tmp_path)([]) == [["cat", "dog"], [0, 1, 2]]


def test_a_module_that_cannot_be_pickled_names_the_culprit(torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)
    module.lock = threading.Lock()
    with pytest.raises(NotPicklableError, match=r"^'Linear' cannot be sent to a replica: 'lock' \(of type lock\)"):
        save_module(module, tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit's own
def test_what_torch_jit_has_compiled_is_refused_by_name(torch: Any, tmp_path: Path) -> None:
    for compiled in (torch.jit.script(torch.nn.Linear(1, 1)), torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1))):
        with pytest.raises(InvalidArgumentError, match=r"a torch\.nn\.Module that torch\.jit has not compiled"):
            save_module(compiled, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [3, {"weight": 1}])
def test_what_is_no_module_is_refused(torch: Any, tmp_path: Path, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"pytorch_model is (int|dict), but must be a torch\.nn\.Module "):
        save_module(value, tmp_path)


def _pickled(function: Any) -> bytes:
    import cloudpickle

    payload: bytes = cloudpickle.dumps(function)
    return payload
