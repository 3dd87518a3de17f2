"""The records of a run: one JSON object a line, written unit by unit, so that a run that was cut off goes on.

A unit is what is measured in one piece ("load/w1/mosec/0"). Its records are written together when it is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class OtherRunError(RuntimeError):
    """The file holds an unfinished run that measures something else."""


class Records:
    """The file of one run.

    Parameters
    ----------
    path : Path
        Made, with its directory, when the first record comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Record] = []

    def open(self, header: Mapping[str, Any], fresh: bool = False) -> bool:
        """Begin a run, or go on with an unfinished one of the same ``header["options"]``; tell whether it goes on.

        Raises
        ------
        OtherRunError
            If the unfinished run has other options.
        """
        earlier = [] if fresh else read_records(self.path)
        if earlier and earlier[-1]["kind"] != "end":
            begun, asked = earlier[0]["options"], header["options"]
            others = [f"{name} {value}" for name, value in begun.items() if asked.get(name) != value]
            if others:
                raise OtherRunError(
                    f"{self.path} holds an unfinished run with other options: {'; '.join(others)}. "
                    "Finish it with the same ones, or begin anew with --fresh."
                )
            self.all = earlier
        else:
            self.all = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(map(_line, self.all)))
        self._append([{"kind": "begin", "unit": "", **header}])
        return len(self.all) > 1

    @property
    def done(self) -> set[str]:
        """Return the units that need not be measured again."""
        return {record["unit"] for record in self.all}

    def load(self) -> None:
        """Read the records of a run, to report on them."""
        self.all = read_records(self.path)

    def add(self, unit: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of a unit that is done."""
        self._append([{"unit": unit, **record} for record in records])

    def end(self) -> None:
        """Mark the run as complete: the next one begins anew."""
        self._append([{"kind": "end", "unit": ""}])

    def _append(self, records: Sequence[Record]) -> None:
        with self.path.open("a") as file:
            file.write("".join(map(_line, records)))
        self.all += records


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"


def read_records(path: Path) -> list[Record]:
    """Return the records in a file, none if there is no file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
