"""What the deployers of frameworks must do, with small models that are really trained; any backend.

Each model learns a rule that is known, so a test can tell whether the deployed model has learnt it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_world import LONG_SLO_MICROS, output, post
from requirements import require_modules

from clipper_magic import ClipperConnection
from clipper_magic.deployers import onnx as onnx_deployer
from clipper_magic.deployers import pytorch as pytorch_deployer
from clipper_magic.deployers import sklearn as sklearn_deployer
from clipper_magic.exceptions import InvalidArgumentError, ReplicaStartError

SEED = 7
FLOWERS = {"setosa": [5.0, 3.4, 1.5, 0.2], "virginica": [6.6, 3.0, 5.6, 2.1]}


def iris() -> tuple[np.ndarray, np.ndarray]:
    """Return 150 flowers, 4 lengths each, and the names of their kinds."""
    from sklearn.datasets import load_iris

    data = load_iris()
    return data.data, data.target_names[data.target].astype(object)


def line() -> tuple[np.ndarray, np.ndarray]:
    """Return points of the plane and y = 2a - 3b + 1."""
    points = np.random.default_rng(SEED).uniform(-1, 1, (200, 2)).astype(np.float32)
    return points, points @ np.array([2, -3], np.float32) + 1


def trained_network() -> Any:
    """Return a torch module of a class that no replica can import, fitted to `line`."""
    import torch

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.again = self.layer  # shared: its weights are one tensor under two names
            self.dropout = torch.nn.Dropout(0.5)
            self.register_buffer("scale", torch.ones(1))
            self.register_buffer("offset", torch.zeros(1), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.dropout(self.again(x).squeeze(1)) * self.scale + self.offset

    torch.manual_seed(SEED)
    model = Line()
    points, targets = map(torch.from_numpy, line())
    model.dropout.p = 0.0
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = ((model(points) - targets) ** 2).mean()
        error.backward()
        return error

    optimizer.step(loss)
    model.dropout.p = 0.5
    return model


def predict_with_torch(model: Any, inputs: Any) -> list[str]:
    import torch

    outputs = model(torch.from_numpy(inputs))
    return [f"{value:.3f}" for value in outputs.numpy()]  # numpy() needs a tensor without gradient


def predict_with_onnx(session: Any, inputs: Any) -> list[Any]:
    (name,) = [one.name for one in session.get_inputs()]
    labels = session.run(None, {name: inputs})[0]
    return [str(label) for label in labels]


class FrameworkContract:
    """Subclass it where a fixture ``connection`` is at hand."""

    # --- scikit-learn ---

    @pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
    def test_sklearn_method(self, connection: ClipperConnection, method: str) -> None:
        require_modules("sklearn")
        from sklearn.linear_model import LogisticRegression

        features, kinds = iris()
        model = LogisticRegression(max_iter=500).fit(features, kinds)
        name = f"iris-{method.replace('_', '-')}"

        sklearn_deployer.create_endpoint(
            connection, name, "doubles", model, method, slo_micros=LONG_SLO_MICROS, example=features[0]
        )

        batch = post(connection, f"/{name}/predict", {"input_batch": list(FLOWERS.values())}).json()
        found = [one["output"] for one in batch["batch_predictions"]]
        expected = getattr(model, method)(list(FLOWERS.values())).tolist()
        assert found == (list(FLOWERS) if method == "predict" else pytest.approx(np.array(expected)))

    def test_sklearn_on_records(self, connection: ClipperConnection) -> None:
        """A pipeline with named columns, some of them texts: what a DataFrame is for."""
        require_modules("sklearn", "pandas")
        import pandas
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        houses = pandas.DataFrame({"rooms": [1, 2, 3, 4] * 2, "town": ["A"] * 4 + ["B"] * 4})
        prices = 10.0 * houses["rooms"] + 5.0 * (houses["town"] == "B")
        columns = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
        model = make_pipeline(columns, LinearRegression()).fit(houses, prices)

        sklearn_deployer.create_endpoint(
            connection,
            "houses",
            "json",
            model,
            slo_micros=LONG_SLO_MICROS,
            example=houses.iloc[0].to_dict(),
            as_dataframe=True,
        )

        assert output(connection, "houses", {"town": "B", "rooms": 6}) == pytest.approx(65.0)
        assert output(connection, "houses", {"rooms": 6, "town": "A"}) == pytest.approx(60.0)

    def test_sklearn_model_that_knows_its_columns(self, connection: ClipperConnection) -> None:
        """Whatever the order of a record's keys, and with keys that the model does not know."""
        require_modules("sklearn", "pandas")
        import pandas
        from sklearn.linear_model import LinearRegression

        houses = pandas.DataFrame({"rooms": [1, 2, 3, 4], "area": [10, 30, 20, 5]})
        model = LinearRegression().fit(houses, 10.0 * houses["rooms"] + houses["area"])
        sklearn_deployer.create_endpoint(
            connection, "columns", "json", model, slo_micros=LONG_SLO_MICROS, as_dataframe=True
        )

        assert output(connection, "columns", {"area": 7, "rooms": 2}) == pytest.approx(27.0)
        assert output(connection, "columns", {"rooms": 3, "address": "?", "area": 7}) == pytest.approx(37.0)

    def test_sklearn_model_without_that_method(self, connection: ClipperConnection) -> None:
        require_modules("sklearn")
        from sklearn.linear_model import LinearRegression

        model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
        with pytest.raises(InvalidArgumentError, match=r"method is 'predict_proba', but must be .*: predict\."):
            sklearn_deployer.deploy_sklearn_model(connection, "line", 1, "doubles", model, "predict_proba")
        assert "line:1" not in connection.get_all_models()

    # --- PyTorch ---

    def test_pytorch(self, connection: ClipperConnection) -> None:
        require_modules("torch")
        model = trained_network()

        pytorch_deployer.create_endpoint(
            connection, "torch", "floats", predict_with_torch, model, slo_micros=LONG_SLO_MICROS, example=[0, 0]
        )

        assert model.training, "the kernel's own model is left as it was"
        assert output(connection, "torch", [0.5, 0.5]) == 0.5
        assert output(connection, "torch", [0.0, -1.0]) == 4.0

    def test_pytorch_function_that_fails_on_its_example(self, connection: ClipperConnection) -> None:
        require_modules("torch")
        deploy = pytorch_deployer.deploy_pytorch_model
        with pytest.raises(ReplicaStartError, match="mat1 and mat2 shapes cannot be multiplied"):
            deploy(connection, "shapes", 1, "floats", predict_with_torch, trained_network(), example=[1.0, 2.0, 3.0])
        assert "shapes:1" not in connection.get_all_models()

    # --- ONNX ---

    @pytest.mark.parametrize("form", ["proto", "bytes", "path"])
    def test_onnx(self, connection: ClipperConnection, form: str, tmp_path: Path) -> None:
        require_modules("sklearn", "onnx", "onnxruntime", "skl2onnx")
        from skl2onnx import to_onnx
        from sklearn.linear_model import LogisticRegression

        features, kinds = iris()
        model = LogisticRegression(max_iter=500).fit(features, kinds)
        proto = to_onnx(model, features[:1].astype(np.float32), options={"zipmap": False})
        path = tmp_path / "iris.onnx"
        path.write_bytes(proto.SerializeToString())
        forms = {"proto": proto, "bytes": path.read_bytes(), "path": path}
        name = f"onnx-{form}"

        onnx_deployer.create_endpoint(
            connection,
            name,
            "floats",
            predict_with_onnx,
            forms[form],
            slo_micros=LONG_SLO_MICROS,
            example=features[0],
        )

        batch = post(connection, f"/{name}/predict", {"input_batch": list(FLOWERS.values())}).json()
        assert [one["output"] for one in batch["batch_predictions"]] == list(FLOWERS)

    def test_onnx_with_external_data(self, connection: ClipperConnection, tmp_path: Path) -> None:
        """As ``torch.onnx.export`` writes it: the weights in a file beside the model's."""
        require_modules("onnx", "onnxruntime")
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        weights = numpy_helper.from_array(np.array([[2.0], [-3.0]], np.float32), "w")
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "line",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
            [weights],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / "line.onnx"
        onnx.save_model(
            model,
            path,
            save_as_external_data=True,
            location="line.onnx.data",
            size_threshold=0,
            convert_attribute=False,
        )

        onnx_deployer.create_endpoint(
            connection,
            "onnx-external",
            "floats",
            lambda session, inputs: session.run(["y"], {"x": inputs})[0][:, 0],
            str(path),
            slo_micros=LONG_SLO_MICROS,
            example=[0, 0],
        )

        assert output(connection, "onnx-external", [5, 1]) == 7.0

    @pytest.mark.parametrize("model", [3, "nowhere.onnx"])
    def test_onnx_model_that_is_none(self, connection: ClipperConnection, model: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="onnx_model is "):
            onnx_deployer.deploy_onnx_model(connection, "none", 1, "floats", predict_with_onnx, model)
        assert "none:1" not in connection.get_all_models()
