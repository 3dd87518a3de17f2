"""What a command returns beside its sentence: Python's own value, echoed only where the sentence does not stand."""

from __future__ import annotations

import io
import json
import pickle
from types import SimpleNamespace

import pytest

from clipper_magic.render import Info, Names
from clipper_magic.told import Count, Told, Word


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def in_cell_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: SimpleNamespace(execution_count=3))


@pytest.mark.parametrize(
    ("value", "equal"), [(Count(3), 3), (Word("fr"), "fr"), (Info(a=1), {"a": 1}), (Names("a"), ["a"])]
)
def test_a_value_is_pythons_own(value: Told, equal: object) -> None:
    value.said_in = 3

    assert value == equal and repr(value) == repr(equal)
    assert json.dumps(value) == json.dumps(equal)
    assert pickle.loads(pickle.dumps(value)) == equal


def test_a_terminal_takes_its_prompt_back(in_cell_3: None, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal("Out[3]: ")
    terminal.seek(8)
    monkeypatch.setattr("sys.stdout", terminal)
    value = Count(3)
    value.said_in = 3
    value._ipython_display_()

    assert terminal.getvalue() == "Out[3]: \r\x1b[K"


def test_a_notebook_shows_nothing(in_cell_3: None, capsys: pytest.CaptureFixture[str]) -> None:
    value = Word("fr")
    value.said_in = 3
    value._ipython_display_()

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("said_in", [None, 2])
def test_a_later_cell_shows_it(in_cell_3: None, said_in: int | None) -> None:
    value = Info(a=1)
    value.said_in = said_in

    with pytest.raises(NotImplementedError):
        value._ipython_display_()
