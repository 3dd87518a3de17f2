"""Packing a function: what is written, what travels with it, and what cannot be packed."""

from __future__ import annotations

import functools
import importlib
import json
import linecache
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from clipper_magic.exceptions import InputTypeError, InvalidArgumentError, ModelCheckError, NotPicklableError
from clipper_magic.model_package import Loading, example_as_json, pack_function, pickle_object
from serving_image.error_log import ErrorLog
from serving_image.model_loader import load_model


def pack(function: Callable[[Any], Any], directory: Path, **options: Any) -> dict[str, Any]:
    pack_function(function, directory, "m", "1", options.pop("input_type", "doubles"), **options)
    description: dict[str, Any] = json.loads((directory / "model.json").read_text())
    return description


def feature_sum(xs: Any) -> list[str]:
    return [str(sum(x)) for x in xs]


def test_model_directory(tmp_path: Path) -> None:
    description = pack(feature_sum, tmp_path, input_type="d", example=np.array([1.0, 2.0]))
    sources = description.pop("sources")

    assert description == {
        "format": 1,
        "name": "m",
        "version": "1",
        "input_type": "doubles",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "example": [1.0, 2.0],
        "loader": "python",
        "packages": [],
        "as_dataframe": False,
    }
    assert "def feature_sum(xs" in sources[__file__]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["func.pkl", "model.json"]


def test_the_loader_loads_what_was_packed(tmp_path: Path) -> None:
    pack(feature_sum, tmp_path, example=[1.0, 2.0])
    runner = load_model(tmp_path, "doubles", ErrorLog())
    assert runner.call([np.array([1.5, 2.0]).tobytes()]) == [b"3.5"]


def test_what_the_function_uses_is_pinned(tmp_path: Path) -> None:
    def uses(xs: Any) -> list[str]:
        import sklearn.linear_model

        return [str(sklearn.linear_model), str(np.mean(xs))]

    names = [requirement.partition("==")[0] for requirement in pack(uses, tmp_path)["packages"]]
    assert names == ["numpy", "scikit-learn"]


def test_trained_model_pins_its_library(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression(fit_intercept=False).fit([[0.0], [1.0]], [0.0, 2.0])
    names = [requirement.partition("==")[0] for requirement in pack(model.predict, tmp_path)["packages"]]

    assert "scikit-learn" in names
    assert load_model(tmp_path, "doubles", ErrorLog()).call([np.array([2.0]).tobytes()]) == [b"4.0"]


def test_notebook_cell_travels_as_source(tmp_path: Path) -> None:
    filename = "<ipython-input-7-cell>"
    text = "def predict(xs):\n    return [1 / x[0] for x in xs]\n"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, filename, "exec"), namespace)

    assert pack(namespace["predict"], tmp_path)["sources"] == {filename: text}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "pk_local.py").write_text(
        "FACTOR = 2\n\nclass Scaler:\n    def apply(self, x):\n        return FACTOR * x\n\n"
        "def late(x):\n    import pk_late\n    return pk_late.shift(x)\n"
    )
    (folder / "pk_late.py").write_text("def shift(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("pk_local")
    for name in ("pk_local", "pk_late"):
        sys.modules.pop(name, None)


def test_local_module_travels_by_value(module: Any, tmp_path: Path) -> None:
    """In an interpreter that has neither the folder nor the module; with the value it has in the kernel."""
    module.FACTOR = 10
    scaler = module.Scaler()

    def predict(xs: Any) -> list[Any]:
        return [scaler.apply(x) for x in xs]

    pickled = pickle_object(predict)
    (tmp_path / "func.pkl").write_bytes(pickled.payload)
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))([3]))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", code, str(tmp_path / "func.pkl")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "[30]\n", done.stderr
    assert cloudpickle.list_registry_pickle_by_value() == set()


def test_what_a_local_module_imports_late_is_copied(module: Any, tmp_path: Path) -> None:
    late = module.late
    target = tmp_path / "model"
    target.mkdir()

    package = pack_function(lambda xs: [late(x) for x in xs], target, "m", "1", "doubles")

    assert [path.name for path in (target / "modules").iterdir()] == ["pk_late.py"]
    assert {"pk_late", "pk_local"} <= set(package.local_modules)


def test_registration_of_the_users_own_is_kept(module: Any) -> None:
    cloudpickle.register_pickle_by_value(module)
    try:
        pickle_object(feature_sum)
        assert cloudpickle.list_registry_pickle_by_value() == {"pk_local"}
    finally:
        cloudpickle.unregister_pickle_by_value(module)


# --- what cannot be packed ---


class Holder:
    def __init__(self) -> None:
        self.name = "fine"
        self.connection = {"lock": threading.Lock()}

    def predict(self, xs: Any) -> list[str]:
        return [str(self.connection) for _ in xs]


class RefusesToLoad:
    def __reduce__(self) -> Any:
        return (int, ("not a number",))


GLOBAL_LOCK = threading.Lock()


def uses_a_global(xs: Any) -> list[str]:
    return [str(GLOBAL_LOCK) for _ in xs]


def closure_over(value: Any) -> Callable[[Any], Any]:
    def predict(xs: Any) -> list[str]:
        return [str(value) for _ in xs]

    return predict


def default_of(xs: Any, lock: Any = GLOBAL_LOCK) -> list[str]:
    return [str(lock) for _ in xs]


@pytest.mark.parametrize(
    ("function", "path"),
    [
        (uses_a_global, "GLOBAL_LOCK"),
        (closure_over(threading.Lock()), "value"),
        (closure_over({"a": [1, threading.Lock()]}), "value['a'][1]"),
        (closure_over(Holder()), "value.connection['lock']"),
        (Holder().predict, "__self__.connection['lock']"),
        (functools.partial(default_of, lock=threading.Lock()), "keywords['lock']"),
        (default_of, "__defaults__[0]"),
        (lambda xs: closure_over, "closure_over"),
    ],
    ids=["global", "closure", "container", "attribute", "method", "partial", "default", "fine"],
)
def test_culprit_is_named(function: Callable[[Any], Any], path: str, tmp_path: Path) -> None:
    if path == "closure_over":
        pack(function, tmp_path)
        return
    with pytest.raises(NotPicklableError) as caught:
        pack(function, tmp_path)

    assert caught.value.fields["culprit"] == f"'{path}' (of type lock)"
    assert "cannot pickle '_thread.lock' object" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert list(tmp_path.iterdir()) == []


def test_function_that_does_not_load_again(tmp_path: Path) -> None:
    with pytest.raises(NotPicklableError, match="does not load again: ValueError"):
        pack(closure_over(RefusesToLoad()), tmp_path)


def test_value_that_is_no_function(tmp_path: Path) -> None:
    with pytest.raises(NotPicklableError, match="'predict' is not a function"):
        pack("predict", tmp_path)  # type: ignore[arg-type]


def test_unknown_input_type(tmp_path: Path) -> None:
    with pytest.raises(InputTypeError, match="Unknown input type 'vectors'"):
        pack(feature_sum, tmp_path, input_type="vectors")


@pytest.mark.parametrize(
    ("example", "kind", "expected"),
    [
        (None, "doubles", None),
        ([1, 2.5], "doubles", [1, 2.5]),
        (np.array([1, 2]), "integers", [1, 2]),
        (b"\x00\x01", "bytes", "AAE="),
        ("text", "strings", "text"),
        ({"a": np.float64(1.5), "b": (np.int64(2), None)}, "json", {"a": 1.5, "b": [2, None]}),
    ],
)
def test_example(example: Any, kind: str, expected: Any) -> None:
    assert example_as_json(example, kind) == expected


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        ({"a": float("nan")}, "json"),
        (b"raw", "json"),
        ([1.5], "integers"),
        ([[1.0]], "doubles"),
        ("text", "doubles"),
        (3, "strings"),
        ([2**40], "integers"),
    ],
)
def test_example_of_another_type(example: Any, kind: str) -> None:
    with pytest.raises(ModelCheckError, match=f"is not an input of type {kind}"):
        example_as_json(example, kind)


def test_dataframes_are_made_of_records_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="as_dataframe is True, but must be False for input type doubles"):
        pack(feature_sum, tmp_path, loading=Loading(as_dataframe=True))
    description = pack(feature_sum, tmp_path, input_type="json", loading=Loading(as_dataframe=True))
    assert description["as_dataframe"] is True
    assert [requirement.partition("==")[0] for requirement in description["packages"]] == ["pandas"]


def test_what_a_loader_imports_is_required_even_if_this_kernel_has_it_not(tmp_path: Path) -> None:
    description = pack(feature_sum, tmp_path, loading=Loading(modules=frozenset({"no_such_runtime"})))
    assert description["packages"] == ["no_such_runtime"]
