"""Models that take a pandas.DataFrame. pandas is imported for them alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def on_dataframes(predict: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Any]:
    """Return ``predict`` for records.

    Parameters
    ----------
    predict : callable
        Takes a pandas.DataFrame of n rows; returns n outputs, or a DataFrame of n rows.

    Returns
    -------
    callable
        Takes a list of n dicts, returns n outputs: dicts for the rows of a DataFrame.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    import pandas

    def call(records: Sequence[Any]) -> Any:
        for record in records:
            if not isinstance(record, dict):
                raise TypeError(f"a record is expected, a JSON object, not {type(record).__name__}")
        outputs = predict(pandas.DataFrame(records))
        return outputs.to_dict("records") if isinstance(outputs, pandas.DataFrame) else outputs

    return call
