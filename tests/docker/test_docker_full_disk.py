"""A disk that is full when a model is deployed: the failing step is quoted, and the old version serves on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import pytest
from requirements import require

from clipper_magic.managers.docker_images import REDIS, DockerImages

SCENARIO = Path(__file__).with_name("small_machine.py")
NAMESPACES = ("--fork", "--pid", "--kill-child", "--mount-proc", "--net", "--mount")
BALLAST_BYTES = 48 * (1 << 20)
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def seen(engine: docker.DockerClient, session_token: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened on a machine whose engine has a small disk; see `small_machine`."""
    tools = [name for name in ("unshare", "dockerd", "mount", "ip") if not shutil.which(name)]
    require("docker", not tools, f"an engine with a disk of its own needs {', '.join(tools)}")
    require("docker", os.geteuid() == 0, "only root may start an engine with a disk of its own")
    folder = tmp_path_factory.mktemp("images")
    images = DockerImages(engine, session_token, "", {}, lambda line: None)
    serving = images.serving()
    for number, name in enumerate((serving, images.ensure(REDIS))):
        with (folder / f"{number}.tar").open("wb") as archive:
            archive.writelines(engine.images.get(name).save(named=name))
    done = subprocess.run(
        ["unshare", *NAMESPACES, sys.executable, str(SCENARIO), str(folder), serving],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("case", "step", "log"),
    [
        ("copying", "Step 3/3 : COPY", "write /func.pkl: no space left on device"),
        ("sending", "sending the context", "no space left on device"),
    ],
)
def test_full_disk_is_quoted_and_the_old_version_serves(seen: dict[str, Any], case: str, step: str, log: str) -> None:
    found = seen[case]
    assert found["code"] == "no-space"
    assert found["step"].startswith(step)
    assert log in found["log"]
    assert found["left"] is None, "no half-made image and no container of the build"
    assert found["answer"] == seen["before"] == 3.5
    assert found["models"] == ["asked:1"]


def test_deploy_succeeds_once_there_is_room(seen: dict[str, Any]) -> None:
    assert seen["after"] == 3.5 + BALLAST_BYTES
    assert seen["after the stop"] == []
