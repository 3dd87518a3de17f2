"""The four workloads: their inputs with the right answers, and the requests in the protocols of the servers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).with_name("w3.json")
MARK = "#########"
"""A load generator puts a running number here, so that no two requests are the same."""

TITLES = {
    "w1": "w1: sum of 10 doubles (the cost of a request)",
    "w2": "w2: sum of 1,000 doubles (the cost of the payload)",
    "w3": "w3: random forest, 100 trees, 30 features (batching that pays)",
    "w4": "w4: 10 ms a batch, whatever its size (queueing)",
}
WIDTHS = {"w1": 10, "w2": 1000, "w4": 10}
NUMBER = '"?(-?[%d.eE+-]+)'

ANSWER_PATTERNS = {
    "plain": '"output": ?' + NUMBER,
    "batch-of-one": "^%[" + NUMBER,
    "v2": '"data": ?%[' + NUMBER,
}
"""Where the prediction stands in an answer, as a Lua pattern, by protocol."""


@dataclass(frozen=True)
class Sample:
    """An input and the right answer to it."""

    row: Sequence[float]
    output: float


@dataclass(frozen=True)
class Query:
    """What a load generator sends again and again, and what it may get back.

    Attributes
    ----------
    body : str
        A JSON body with `MARK` in the place of nine digits.
    pattern : str
        A Lua pattern that captures the prediction in an answer.
    low, high : float
        A prediction outside of these is wrong, whatever the nine digits were.
    """

    body: str
    pattern: str
    low: float
    high: float


def make_samples(workload: str) -> list[Sample]:
    """Return 64 different inputs with their right answers."""
    if workload == "w3":
        fixture = json.loads(FIXTURE.read_text())
        return [Sample(row, output) for row, output in zip(fixture["rows"], fixture["outputs"], strict=True)]
    rest = [float(column % 97) for column in range(WIDTHS[workload] - 1)]
    rows = [[number + 0.25, *rest] for number in range(64)]
    return [Sample(row, sum(row)) for row in rows]


def make_body(protocol: str, row: Sequence[float]) -> str:
    """Return the JSON body of one prediction: protocol "plain", "batch-of-one" or "v2" (open inference)."""
    if protocol == "v2":
        tensor = {"name": "input", "shape": [1, len(row)], "datatype": "FP64", "data": row}
        return json.dumps({"inputs": [tensor]})
    return json.dumps({"input": [row] if protocol == "batch-of-one" else row})


def make_query(protocol: str, workload: str, constant: bool = False) -> Query:
    """Return the query of a load: its first number is 12.#########, the others are those of the samples.

    Parameters
    ----------
    constant : bool
        The server answers a constant (a limit line): any number will do.
    """
    row = make_samples(workload)[0].row
    body = make_body(protocol, [123456.5, *row[1:]]).replace("123456.5", "12." + MARK, 1)
    if constant:
        return Query(body, ANSWER_PATTERNS[protocol], float("-inf"), float("inf"))
    if workload == "w3":
        return Query(body, ANSWER_PATTERNS[protocol], 0, 1)
    rest = sum(row[1:])
    return Query(body, ANSWER_PATTERNS[protocol], 12 + rest, 13 + rest)


def parse_answer(text: str) -> float:
    """Return the prediction in an answer, whatever the protocol.

    Raises
    ------
    ValueError
        If there is none.
    """
    value: Any = json.loads(text)
    while not isinstance(value, int | float):
        if isinstance(value, dict):
            value = next((value[key] for key in ("output", "outputs", "data") if key in value), None)
        elif isinstance(value, list) and value:
            value = value[0]
        elif isinstance(value, str):
            value = float(value)
        else:
            raise ValueError(f"no prediction in {text[:200]}")
    return float(value)
