"""Models that take a DataFrame."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
from model_directories import write_model
from requirements import require_modules

from serving_image.dataframes import on_dataframes
from serving_image.error_log import ErrorLog
from serving_image.input_types import pack_all
from serving_image.model_loader import IMPORT_ERROR, ModelLoadError, load_model
from serving_image.model_runner import ModelRunner

KINDS = "def predict(xs):\n    return [type(x).__name__ for x in xs]\n"


@pytest.fixture(scope="module", autouse=True)
def pandas() -> None:
    require_modules("pandas")


def load(directory: Path, source: str, **description: Any) -> ModelRunner:
    return load_model(write_model(directory, source, input_type="json", **description), "json", ErrorLog())


def answers(directory: Path, source: str, inputs: list[Any], **description: Any) -> list[bytes]:
    return load(directory, source, as_dataframe=True, **description).call(pack_all("json", inputs))


def test_records_become_the_rows_of_a_dataframe(tmp_path: Path) -> None:
    source = "def predict(df):\n    return df['a'] + df['b'].str.len()\n"
    records = [{"a": 1, "b": "xx"}, {"b": "", "a": 5}]
    assert answers(tmp_path, source, records, example={"a": 1, "b": ""}) == [b"3", b"5"]


def test_rows_of_a_dataframe_become_records(tmp_path: Path) -> None:
    source = "def predict(df):\n    return df.assign(twice=2 * df['a'])\n"
    found = answers(tmp_path, source, [{"a": 1}, {"a": 2}], example={"a": 1})
    assert found == [b'{"a":1,"twice":2}', b'{"a":2,"twice":4}']


def test_a_value_that_is_no_record_costs_no_other_its_answer(tmp_path: Path) -> None:
    source = "def predict(df):\n    return df['a'].tolist()\n"
    runner = load(tmp_path, source, as_dataframe=True, example={"a": 0})
    answer = runner.run([b'{"a":1}', b"3", b'{"a":2}', b"{}"])
    assert answer.outputs == [b"1", None, b"2", None]
    assert answer.errors[1] == ("TypeError", "a record is expected, a JSON object, not int")
    assert answer.errors[3][0] == "KeyError"


def test_no_answer_depends_on_the_other_records_of_the_batch(tmp_path: Path) -> None:
    source = "def predict(df):\n    return df['a'].tolist()\n"
    answer = load(tmp_path, source, as_dataframe=True, example={"a": 0}).run([b'{"a":1}', b'{"b":1}', b'{"a":2,"b":3}'])
    assert answer.outputs == [b"1", None, b"2"]  # not 1.0, as with a missing value in the column
    assert answer.errors[1] == ("KeyError", "'a'")


@pytest.mark.parametrize(("example", "order"), [({"c": 0, "a": 0}, "c a b"), ({"b": 0}, "b a c"), (None, "a b c")])
def test_columns_are_in_the_order_of_the_example(tmp_path: Path, example: Any, order: str) -> None:
    source = "def predict(df):\n    return [' '.join(df.columns)] * len(df)\n"
    assert answers(tmp_path, source, [{"b": 1, "c": 2, "a": 3}], example=example) == [f'"{order}"'.encode()]


def test_pandas_is_imported_only_for_models_that_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_pandas(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")
        return real_import(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == "pandas"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_pandas)

    assert load(tmp_path, KINDS).call([b"{}"]) == [b'"dict"']
    with pytest.raises(ModelLoadError) as refused:
        load(tmp_path, KINDS, as_dataframe=True)
    assert str(refused.value) == f"{IMPORT_ERROR} (ModuleNotFoundError: No module named 'pandas')"
    with pytest.raises(ModuleNotFoundError):
        on_dataframes(len)
