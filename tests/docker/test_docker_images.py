"""Images: bases, packages, models, pushes, and builds that fail."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DockerBackend, unclaimed
from contract_world import feature_product, feature_sum, output, serve
from registry import running_registry
from requirements import require

from clipper_magic import ClipperConnection, image
from clipper_magic.container_manager import CLIPPER_DOCKER_LABEL
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import BackendError, ImageBuildError
from clipper_magic.managers.waiting import wait_for
from clipper_magic.wheels import PYTHON_VERSION

PATIENCE_S = 60.0


def uses_a_package(xs: Any) -> list[str]:
    import sortedcontainers

    return [str(sortedcontainers.SortedList(x.tolist())[0]) for x in xs]


def reads_a_file(xs: Any) -> list[str]:
    import pathlib

    return [pathlib.Path("/opt/extra.txt").read_text()] * len(xs)


@pytest.fixture
def lines() -> list[str]:
    """What the builder said."""
    return []


@pytest.fixture
def manager(backend: DockerBackend, new_cluster_name: Callable[[], str], lines: list[str]) -> Iterator[Any]:
    """A manager without a cluster: building needs none."""
    yield backend.manager(new_cluster_name(), on_progress=lines.append)


@pytest.fixture(scope="module")
def cluster(backend: DockerBackend, new_cluster_name: Callable[[], str]) -> Iterator[ClipperConnection]:
    started = ClipperConnection(backend.manager(new_cluster_name(), with_metrics=False))
    started.start_clipper()
    yield started
    started.stop_all()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The directory of a model."""
    folder = tmp_path / "model"
    folder.mkdir(mode=0o700)
    python_deployer.save_function(feature_sum, folder, "sum-model", "1", "doubles", None)
    return folder


@pytest.fixture
def make_image(backend: DockerBackend, session_token: str) -> Iterator[Callable[..., str]]:
    """Return a function that makes small images, from nothing or from a Dockerfile; they are removed afterwards."""
    tags: list[str] = []

    def make(name: str, dockerfile: str = "", changes: list[str] | None = None) -> str:
        tag = f"{session_token}-{name}:1"
        if dockerfile:
            backend.client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=tag, rm=True, forcerm=True)
        else:
            empty = io.BytesIO()
            tarfile.open(fileobj=empty, mode="w").close()
            backend.client.api.import_image_from_data(
                empty.getvalue(), repository=f"{session_token}-{name}", tag="1", changes=changes
            )
        tags.append(tag)
        return tag

    yield make
    for tag in tags:
        backend.client.images.remove(tag, force=True)


def serving_image(manager: Any) -> str:
    return str(manager._images.serving())


# --- the serving image ---


def test_second_start_builds_nothing(manager: Any, lines: list[str]) -> None:
    first = serving_image(manager)
    lines.clear()

    assert serving_image(manager) == first
    assert lines == []


def test_serving_image_has_the_kernels_versions(manager: Any, backend: DockerBackend) -> None:
    import msgspec
    import numpy

    program = "import msgspec, numpy, sys; print(numpy.__version__, msgspec.__version__, *sys.version_info[:2])"
    said = backend.client.containers.run(
        serving_image(manager), ["python3", "-c", program], remove=True, network_mode="none", read_only=True
    )

    assert said.decode().split() == [numpy.__version__, msgspec.__version__, *PYTHON_VERSION.split(".")]


def test_base_with_another_python_is_refused(
    backend: DockerBackend, new_cluster_name: Callable[[], str], make_image: Callable[..., str]
) -> None:
    other = make_image("other-python", changes=["LABEL ai.clipper.python=3.10.4"])
    connection = ClipperConnection(backend.manager(new_cluster_name(), base_image=other))

    with pytest.raises(ImageBuildError) as caught:
        connection.start_clipper()

    assert str(caught.value).startswith(f"Image {other} has Python 3.10, but this kernel runs Python {PYTHON_VERSION}")
    assert "\n" not in str(caught.value)


def test_base_without_python_is_refused(manager: Any, model: Path, redis_image: str) -> None:
    with pytest.raises(ImageBuildError, match=r"has Python \(none\)"):
        manager.build_image("sum-model", "1", str(model), redis_image)


def test_base_that_cannot_be_had_names_the_command(manager: Any, model: Path) -> None:
    with pytest.raises(BackendError) as caught:
        manager.build_image("sum-model", "1", str(model), "127.0.0.1:9/no/such:image")

    assert "127.0.0.1:9/no/such:image is not here and cannot be pulled" in str(caught.value)
    assert "python -m serving_image.base_image --kind python" in str(caught.value)


def test_base_image_from_debian_packages(backend: DockerBackend, session_token: str) -> None:
    """The documented command, from downloads to a container that runs locked down."""
    require("docker", shutil.which("apt-get") is not None, "this is no Debian system")
    tag = f"{session_token}-base:1"

    done = subprocess.run(
        [sys.executable, "-m", "serving_image.base_image", tag], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert f"Building {tag} from Debian packages" in done.stdout
    try:
        program = "import ssl, sqlite3, ctypes, json, os; print(json.__cached__, os.getuid(), os.listdir('/model'))"
        said = backend.client.containers.run(
            tag,
            ["python", "-c", program],
            remove=True,
            network_mode="none",
            read_only=True,
            user="10001:10001",
            cap_drop=["ALL"],
        )
        assert re.fullmatch(r"\S+json/__pycache__/__init__\.cpython-\d+\.pyc 10001 \[\]\n", said.decode())
    finally:
        backend.client.images.remove(tag)


# --- model images ---


def test_model_image_is_built_as_in_the_document(
    manager: Any, model: Path, backend: DockerBackend, lines: list[str]
) -> None:
    serving = serving_image(manager)
    lines.clear()

    tag = manager.build_image("sum-model", "1", str(model), "default")

    assert tag == f"{manager.cluster_name}-sum-model:1"
    steps = [line for line in lines if line.startswith("Step")]
    assert [steps[0], steps[2]] == [f"Step 1/3 : FROM {serving}", f"Step 3/3 : COPY {model} /model/"]
    assert re.fullmatch(r" ---> [0-9a-f]{12}", lines[1])
    assert re.fullmatch(r"Successfully built [0-9a-f]{12}", lines[-2])
    assert lines[-1] == f"Successfully tagged {tag}"
    assert not any("Pushing" in line for line in lines)
    program = "import pathlib; print(sorted(p.name for p in pathlib.Path('/model').iterdir() if p.read_bytes()))"
    said = backend.client.containers.run(tag, ["python3", "-c", program], remove=True, network_mode="none")
    assert said.decode().strip() == "['func.pkl', 'model.json']"


def test_building_again_leaves_no_nameless_image(manager: Any, model: Path, backend: DockerBackend) -> None:
    tag = manager.build_image("again", "1", str(model), "default")
    former = backend.client.images.get(tag).id
    (model / "more.txt").write_text("more")

    manager.build_image("again", "1", str(model), "default")

    assert backend.client.images.get(tag).id != former
    assert former not in {image.id for image in backend.client.images.list(all=True)}


def test_folder_that_is_no_model_is_refused(manager: Any, tmp_path: Path) -> None:
    with pytest.raises(ImageBuildError, match=r"is not a model directory: it has no model\.json"):
        manager.build_image("nothing", "1", str(tmp_path), "default")


def test_image_of_the_users(cluster: ClipperConnection, make_image: Callable[..., str]) -> None:
    serving = serving_image(cluster.cm)
    base = make_image("extra", f"FROM {serving}\nUSER root\nRUN echo -n 42 > /opt/extra.txt\nUSER 10001\n")

    python_deployer.deploy_python_closure(cluster, "own-base", 1, "doubles", reads_a_file, base_image=base)
    cluster.register_application("own-base", "doubles", "-1", 5_000_000)
    cluster.link_model_to_app("own-base", "own-base")

    assert output(cluster, "own-base", [1.0]) == 42


def test_packages_are_found_pinned_and_built_once(cluster: ClipperConnection, backend: DockerBackend) -> None:
    import sortedcontainers

    serve(cluster, "packed", uses_a_package)
    first = backend.client.images.get(f"{cluster.cm.cluster_name}-packed:1")
    python_deployer.deploy_python_closure(
        cluster, "packed", 2, "doubles", uses_a_package, pkgs_to_install=["sortedcontainers"]
    )
    second = backend.client.images.get(f"{cluster.cm.cluster_name}-packed:2")

    assert output(cluster, "packed", [3.0, 1.0, 2.0]) == 1.0
    assert f'"sortedcontainers": "{sortedcontainers.__version__}"' in first.labels["ai.clipper.packages"]
    assert first.attrs["RootFS"]["Layers"][:-1] == second.attrs["RootFS"]["Layers"][:-1]


# --- builds that fail ---


def test_failing_pip_is_quoted_and_the_old_version_serves(cluster: ClipperConnection) -> None:
    serve(cluster, "unpackable")

    with pytest.raises(ImageBuildError, match="pip install no-such-package-anywhere-42 failed") as caught:
        python_deployer.deploy_python_closure(
            cluster, "unpackable", 2, "doubles", feature_product, pkgs_to_install=["no-such-package-anywhere-42"]
        )

    assert "No matching distribution found for no-such-package-anywhere-42" in caught.value.fields["log"]
    assert output(cluster, "unpackable", [3.0, 4.0]) == 7.0
    assert "unpackable:2" not in cluster.get_all_models()


def test_failing_step_is_quoted_and_leaves_nothing(
    manager: Any, model: Path, backend: DockerBackend, make_image: Callable[..., str], session_token: str
) -> None:
    """A base whose ONBUILD step fails: a step of the build itself ends badly."""
    words = "the licence server does not answer"
    base = make_image("failing", f"FROM {serving_image(manager)}\nONBUILD RUN echo '{words}'; exit 28\n")
    before = unclaimed(backend.client, session_token)

    with pytest.raises(ImageBuildError, match="Step 1/3 : FROM") as caught:
        manager.build_image("broken", "1", str(model), base)

    assert words in caught.value.fields["log"]
    assert "returned a non-zero code: 28" in caught.value.fields["log"]
    assert wait_for(lambda: unclaimed(backend.client, session_token) <= before, PATIENCE_S)
    assert backend.client.images.list(f"{manager.cluster_name}-broken") == []


def test_interrupted_build_leaves_nothing(
    backend: DockerBackend,
    new_cluster_name: Callable[[], str],
    model: Path,
    make_image: Callable[..., str],
    session_token: str,
) -> None:
    def interrupt(line: str) -> None:
        if "Running in" in line:
            raise KeyboardInterrupt

    name = new_cluster_name()
    serving = serving_image(backend.manager(name))
    base = make_image("slow", f"FROM {serving}\nONBUILD RUN sleep 60\n")
    before = unclaimed(backend.client, session_token)

    with pytest.raises(KeyboardInterrupt):
        backend.manager(name, on_progress=interrupt).build_image("cut", "1", str(model), base)

    assert wait_for(lambda: unclaimed(backend.client, session_token) <= before, PATIENCE_S)
    assert backend.client.images.list(f"{name}-cut") == []


def test_what_an_interrupted_build_left_is_removed_with_the_cluster(
    backend: DockerBackend, new_cluster_name: Callable[[], str], model: Path
) -> None:
    """The engine ends the step that it is in, and keeps its outcome: nameless, unless it was the last step."""

    def interrupt(line: str) -> None:
        if "COPY" in line and line.startswith("Step 3/3"):
            raise KeyboardInterrupt

    def left() -> list[Any]:
        nameless = {"dangling": True, "label": f"{CLIPPER_DOCKER_LABEL}={name}"}
        return list(backend.client.images.list(filters=nameless))

    def is_clean_after_a_stop() -> bool:
        manager.stop_all()
        return not left()

    name = new_cluster_name()
    manager = backend.manager(name, on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        manager.build_image("cut", "1", str(model), serving_image(manager))
    assert wait_for(lambda: left() or backend.client.images.list(f"{name}-cut"), PATIENCE_S)

    assert wait_for(is_clean_after_a_stop, PATIENCE_S)


# --- registries ---


def test_image_is_pushed_where_a_registry_is_named(
    backend: DockerBackend, make_image: Callable[..., str], session_token: str
) -> None:
    """A small image: a model's own would spend half a minute on compressing its base."""
    small = backend.client.images.get(make_image("small", changes=["LABEL size=small"]))
    with running_registry() as registry:
        tag = f"{registry.address}/{session_token}-small:1"
        small.tag(tag)
        try:
            image.push(backend.client, tag)
        finally:
            backend.client.images.remove(tag)

        assert registry.pushed == [f"{session_token}-small:1"]


def test_push_that_fails_is_loud(manager: Any, model: Path, lines: list[str]) -> None:
    with pytest.raises(ImageBuildError, match=r"Image 127\.0\.0\.1:9/\S+ could not be pushed: .*refused"):
        manager.build_image("unpushed", "1", str(model), "default", container_registry="127.0.0.1:9")

    assert lines[-1] == f"Pushing model Docker image to 127.0.0.1:9/{manager.cluster_name}-unpushed:1"
