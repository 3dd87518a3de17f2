"""A shell with the magics over clusters in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from magics_world import Shell, World, memory_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Clusters in memory, none of them running."""
    monkeypatch.chdir(tmp_path)
    with memory_world(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def shell(world: World) -> Iterator[Shell]:
    """A shell that knows the magics; no cluster runs."""
    made = Shell()
    yield made
    made.close()


@pytest.fixture
def serving(shell: Shell) -> Shell:
    """The same with a cluster, an application hello-world and the versions 1 and 2 of sum-model."""
    for cell in (
        "%clipper start;",
        "%clipper register hello-world --input-type doubles --default-output -1.0 --slo 100ms;",
        "%%clipper_deploy sum-model:1 --app hello-world\ndef f(xs): return [str(sum(x)) for x in xs]",
        "%%clipper_deploy sum-model\ndef f(xs): return [str(max(x)) for x in xs]",
    ):
        shell.run(cell)
    return shell
