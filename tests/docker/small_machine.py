"""A deploy that does not fit on the disk: run by ``test_docker_full_disk`` in namespaces of its own.

``python small_machine.py IMAGES_DIRECTORY SERVING_IMAGE`` starts an engine whose disk is a tmpfs of a known size, loads
the images of the directory, starts a cluster, fills the disk, deploys, and writes as JSON what happened. Network,
mounts and processes are private to it, so whatever it starts ends with it, and the machine's engine is not touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from clipper_magic import ClipperConnection, DockerContainerManager
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import DockerUnavailableError, ImageBuildError
from clipper_magic.managers.docker_engine import connect_engine
from clipper_magic.managers.waiting import wait_for

MIB = 1 << 20
DISK_BYTES = 768 * MIB
BALLAST_BYTES = 48 * MIB
"""What the model carries with it."""
ROOMS_BYTES = {"copying": 64 * MIB, "sending": 16 * MIB}
"""What is left for its image: enough to send the model to the builder, but not to copy it; not enough for either."""
PATIENCE_S = 60.0


def feature_sum(xs: Sequence[Any]) -> list[str]:
    return [str(sum(x)) for x in xs]


@contextmanager
def engine_with_a_disk_of_its_own() -> Iterator[Path]:
    """Start an engine whose data are in a small file system, and yield where that is."""
    with tempfile.TemporaryDirectory(prefix="small-engine-") as scratch:
        disk = Path(scratch, "disk")
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(disk)], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        places = {"data-root": disk, "exec-root": Path(scratch, "run"), "pidfile": Path(scratch, "pid")}
        options = [f"--{name}={path}" for name, path in places.items()]
        os.environ["DOCKER_HOST"] = f"unix://{scratch}/socket"
        with Path(scratch, "log").open("w") as log:
            engine = subprocess.Popen(["dockerd", *options, f"--host={os.environ['DOCKER_HOST']}"], stderr=log)
        try:
            if not wait_for(answers, PATIENCE_S):
                raise RuntimeError(Path(scratch, "log").read_text())
            yield disk
        finally:
            engine.terminate()
            engine.wait()
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def answers() -> bool:
    try:
        connect_engine().close()
    except DockerUnavailableError:
        return False
    return True


def what_is_there(engine: docker.DockerClient) -> dict[str, list[str]]:
    """Return the containers and images of the engine."""
    return {
        "containers": sorted(container.name for container in engine.containers.list(all=True, ignore_removed=True)),
        "images": sorted(str(image.tags or image.id) for image in engine.images.list()),
    }


def deploy_on_a_full_disk(disk: Path, images: Path, serving_image: str) -> dict[str, Any]:
    """Return what happened: before, with each of the rooms, with room enough, and after the stop."""
    engine = connect_engine()
    for archive in sorted(images.iterdir()):
        engine.images.load(archive.read_bytes())
    cluster = ClipperConnection(DockerContainerManager("small", with_metrics=False, base_image=serving_image))
    cluster.start_clipper()
    python_deployer.create_endpoint(
        cluster, "asked", "doubles", feature_sum, default_output="-1.0", slo_micros=20_000_000
    )
    seen: dict[str, Any] = {"before": predict(cluster)}
    there = what_is_there(engine)
    for name, room_bytes in ROOMS_BYTES.items():
        with only_this_much_room(disk, room_bytes), pytest.raises(ImageBuildError) as caught:
            deploy_with_ballast(cluster)
        emptied = wait_for(lambda: what_is_there(engine) == there, PATIENCE_S)
        seen[name] = {
            "code": caught.value.code,
            "step": caught.value.fields["step"],
            "log": caught.value.fields["log"],
            "left": None if emptied else what_is_there(engine),
            "answer": predict(cluster),
            "models": cluster.get_all_models(),
        }
    deploy_with_ballast(cluster)
    seen["after"] = predict(cluster)
    cluster.stop_all()
    seen["after the stop"] = [c.name for c in engine.containers.list(all=True)]
    engine.close()
    return seen


@contextmanager
def only_this_much_room(disk: Path, room_bytes: int) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - room_bytes)
    yield
    filler.unlink()


def deploy_with_ballast(cluster: ClipperConnection) -> None:
    ballast = os.urandom(BALLAST_BYTES)

    def feature_sum_and_ballast(xs: Sequence[Any]) -> list[str]:
        return [str(sum(x) + len(ballast)) for x in xs]

    python_deployer.deploy_python_closure(cluster, "asked", 2, "doubles", feature_sum_and_ballast)


def predict(cluster: ClipperConnection) -> Any:
    answer = requests.post(
        f"http://{cluster.get_query_addr()}/asked/predict", json={"input": [1.0, 2.5]}, timeout=PATIENCE_S
    )
    return answer.json()["output"]


if __name__ == "__main__":
    with engine_with_a_disk_of_its_own() as of_its_own:
        found = deploy_on_a_full_disk(of_its_own, Path(sys.argv[1]), sys.argv[2])
    json.dump(found, sys.stdout)
