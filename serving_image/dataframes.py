"""Models that take a pandas.DataFrame. pandas is imported for them alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def on_dataframes(predict: Callable[[Any], Any], columns: Sequence[str] = ()) -> Callable[[Sequence[Any]], Any]:
    """Return ``predict`` for records.

    Parameters
    ----------
    predict : callable
        Takes a pandas.DataFrame of n rows; returns n outputs, or a DataFrame of n rows.
    columns : sequence of str
        Names of columns that come first, in this order: over the wire, the keys of a record have none.

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
            if record.keys() != records[0].keys():
                # They are tried one by one then: nobody's answer may depend on whose records are in the same batch.
                raise ValueError("the records of one DataFrame differ in their keys")
        frame = pandas.DataFrame(records)
        first = [column for column in columns if column in frame.columns]
        outputs = predict(frame[[*first, *frame.columns.difference(first, sort=False)]])
        return outputs.to_dict("records") if isinstance(outputs, pandas.DataFrame) else outputs

    return call
