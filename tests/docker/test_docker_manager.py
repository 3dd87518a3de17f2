"""What is Docker's own: labels, networks, ports, logs, clean-up."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import docker
import pytest
import requests
from conftest import DockerBackend
from contract_world import feature_sum, post, serve

from clipper_magic import ClipperConnection
from clipper_magic.container_manager import CLIPPER_DOCKER_LABEL, ModelSpec, Role
from clipper_magic.deployers import python as python_deployer
from clipper_magic.exceptions import BackendError, ClusterStartError, ImageBuildError, ReplicaStartError
from clipper_magic.managers.docker_containers import Containers
from clipper_magic.managers.waiting import wait_for

PATIENCE_S = 60.0


# --- identity ---


def test_names_and_labels_are_clippers(cluster: ClipperConnection, backend: DockerBackend) -> None:
    serve(cluster, "labelled")
    name = cluster.cm.cluster_name

    members = {re.sub(r"-\d+$", "", member.name): member for member in backend.members(name)}

    assert {"redis", "mgmt_frontend", "query_frontend", "metric_frontend", "labelled_1"} <= set(members)
    assert {member.labels["ai.clipper.container.label"] for member in members.values()} == {name}
    query, management = members["query_frontend"].labels, members["mgmt_frontend"].labels
    assert cluster.get_query_addr() == f"localhost:{query['ai.clipper.query_frontend.query.port']}"
    assert cluster.cm.get_admin_addr() == f"localhost:{management['ai.clipper.management.port']}"
    assert (query["ai.clipper.query_frontend.label"], management["ai.clipper.management_frontend.label"]) == ("", "")
    assert query["ai.clipper.query_frontend.rpc.port"] == "7000"
    assert members["redis"].labels["ai.clipper.redis.port"] == "6379"
    assert members["metric_frontend"].labels["ai.clipper.metric.port"] == cluster.get_metric_addr().split(":")[1]
    assert members["labelled_1"].labels["ai.clipper.model_container.label"] == "labelled_1"


def test_users_labels_and_arguments_reach_every_container(
    connect: Callable[..., ClipperConnection], backend: DockerBackend
) -> None:
    extra = {"labels": {"team": "blue"}, "environment": {"COLOUR": "blue"}, "hostname": "ours"}
    connection = connect(extra_container_kwargs=extra, with_metrics=False)
    connection.start_clipper()

    for member in backend.members(connection.cm.cluster_name):
        config = member.attrs["Config"]
        assert (config["Labels"]["team"], config["Hostname"]) == ("blue", "ours")
        assert "COLOUR=blue" in config["Env"]


# --- starting ---


def test_taken_port_is_said(
    connect: Callable[..., ClipperConnection], log: pytest.LogCaptureFixture, free_port: Callable[[], int]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        connection = connect(clipper_query_port=port, with_metrics=False)
        connection.start_clipper()

    chosen = int(connection.get_query_addr().rpartition(":")[2])
    assert chosen != port
    assert f"Port {port} is taken, using port {chosen} instead" in log.text


def test_failing_service_leaves_nothing(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, redis_image: str
) -> None:
    """An image that is no Prometheus ends at once; what had started with it is removed."""
    connection = connect(prometheus_image=redis_image)

    with pytest.raises(BackendError):
        connection.start_clipper()

    assert backend.leftovers(connection.cm.cluster_name) == []


def test_service_that_ends_is_reported_with_its_log(connect: Callable[..., ClipperConnection]) -> None:
    """A frontend that cannot reach the Redis that it was given."""
    connection = connect(redis_ip="nobody.invalid", with_metrics=False)

    with pytest.raises(ClusterStartError, match=r"did not become ready") as caught:
        connection.start_clipper()

    assert "nobody.invalid" in caught.value.fields["log"]


# Ctrl-C may come while the client has made a socket and not yet kept it: Python closes that one, with a warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_start_leaves_nothing(connect: Callable[..., ClipperConnection], backend: DockerBackend) -> None:
    connection = connect()
    name = connection.cm.cluster_name
    main = threading.main_thread()

    def interrupt_when_it_has_begun() -> None:
        assert wait_for(lambda: backend.members(name), PATIENCE_S)
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    watcher = threading.Thread(target=interrupt_when_it_has_begun)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        connection.start_clipper()
    watcher.join()

    assert backend.leftovers(name) == []


def test_interrupted_stop_leaves_no_state_that_nobody_kept(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C while the containers end waits for those that are ending; here these are all."""
    connection = connect(with_metrics=False)
    connection.start_clipper()
    remove = Containers.remove

    def interrupted(*args: Any, **named: Any) -> None:
        remove(*args, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(Containers, "remove", staticmethod(interrupted))
    with pytest.raises(KeyboardInterrupt):
        connection.stop_all()
    monkeypatch.undo()

    assert backend.leftovers(connection.cm.cluster_name) == []


def test_remains_of_a_killed_start_do_not_stand_in_the_way(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, redis_image: str
) -> None:
    connection = connect(with_metrics=False)
    name = connection.cm.cluster_name
    half = connection.cm._lifecycle  # type: ignore[attr-defined]
    half.networks.ensure(allow_network=False)
    backend.client.containers.create(redis_image, "redis-server", labels={CLIPPER_DOCKER_LABEL: name})

    connection.start_clipper()

    assert len(backend.members(name)) == 3


def test_stop_all_removes_nothing_of_anyone_else(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, session_token: str, redis_image: str
) -> None:
    connection = connect(with_metrics=False)
    connection.start_clipper()
    foreign = backend.client.containers.run(
        redis_image,
        "redis-server",
        detach=True,
        network=backend.network,
        name=f"{session_token}-foreign",
    )
    try:
        connection.stop_all()

        foreign.reload()
        assert foreign.status == "running"
        assert backend.client.networks.list(names=[backend.network])
    finally:
        foreign.remove(force=True)


# --- metrics ---


def test_prometheus_scrapes_what_runs(cluster: ClipperConnection, backend: DockerBackend) -> None:
    serve(cluster, "scraped")
    cluster.set_num_replicas("scraped", 2)

    def up() -> dict[str, int]:
        found = requests.get(
            f"http://{cluster.get_metric_addr()}/api/v1/query", params={"query": "sum by (job) (up)"}, timeout=5
        ).json()["data"]["result"]
        return {each["metric"]["job"]: int(each["value"][1]) for each in found}

    running = len(cluster.cm.list_replicas())
    assert wait_for(lambda: up() == {"frontends": 2, "replicas": running}, PATIENCE_S), up()
    text = backend.metric_config(cluster.cm.cluster_name).read_text()
    for status in cluster.cm.list_replicas():
        assert status.replica.address in text

    cluster.stop_models(["scraped"])
    assert "scraped" not in backend.metric_config(cluster.cm.cluster_name).read_text()
    assert wait_for(lambda: up().get("replicas", 0) == running - 2, PATIENCE_S), up()


def test_metric_configuration_is_said_and_removed(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, log: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    connection.start_clipper()
    path = backend.metric_config(connection.cm.cluster_name)

    assert path.exists()
    connection.stop_all()

    assert "Starting managed Redis instance in Docker" in log.text
    assert f"Metric Configuration Saved at {path}" in log.text
    assert not path.exists()


def test_cluster_without_metrics(connect: Callable[..., ClipperConnection], backend: DockerBackend) -> None:
    connection = connect(with_metrics=False)
    connection.start_clipper()

    assert not [m for m in backend.members(connection.cm.cluster_name) if m.name.startswith("metric")]
    assert connection.get_metric_addr() == connection.get_query_addr()


# --- state ---


def test_external_redis_at_its_own_port(
    connect: Callable[..., ClipperConnection], backend: DockerBackend, session_token: str, redis_image: str
) -> None:
    """Two clusters share one Redis without seeing each other."""
    network = backend.client.networks.create(f"{session_token}-shared")
    redis = backend.client.containers.run(
        redis_image,
        ["redis-server", "--port", "7777", "--protected-mode", "no"],
        detach=True,
        network=network.name,
        name=f"{session_token}-external",
    )
    try:
        options = {"redis_ip": redis.name, "redis_port": 7777, "docker_network": network.name, "with_metrics": False}
        first, second = connect(**options), connect(**options)
        first.start_clipper()
        second.start_clipper()
        first.register_application("mine", "doubles", "x", 100_000)

        assert (first.get_all_apps(), second.get_all_apps()) == (["mine"], [])
        assert len(backend.members(first.cm.cluster_name)) == 2
        first.stop_all()
        second.stop_all()
    finally:
        redis.remove(force=True, v=True)
        network.remove()


def test_connect_starts_what_was_stopped(connect: Callable[..., ClipperConnection], backend: DockerBackend) -> None:
    first = connect(with_metrics=False)
    first.start_clipper()
    serve(first, "asleep")
    for member in backend.members(first.cm.cluster_name):
        member.stop()

    second = connect(cluster_name=first.cm.cluster_name)
    second.connect()

    assert wait_for(lambda: second.get_num_replicas("asleep") == 1, PATIENCE_S)
    assert wait_for(lambda: post(second, "/asleep/predict", {"input": [1.0, 2.0]}).json()["output"] == 3.0, PATIENCE_S)


# --- images ---


def test_image_that_is_not_there(cluster: ClipperConnection) -> None:
    with pytest.raises(ImageBuildError, match="There is no image 'nobody/nothing:1'"):
        cluster.deploy_model("ghost", 1, "doubles", "nobody/nothing:1")

    assert "ghost:1" not in cluster.get_all_models()


def test_replica_of_a_wrong_image_fails_with_its_log(cluster: ClipperConnection, redis_image: str) -> None:
    with pytest.raises((ReplicaStartError, BackendError)):
        cluster.cm.add_replicas(ModelSpec("wrong", "1", "doubles", redis_image), 1)

    assert [status for status in cluster.cm.list_replicas() if status.replica.model_name == "wrong"] == []


def test_logs_are_named_by_image_and_container(cluster: ClipperConnection, tmp_path: Any) -> None:
    paths = cluster.get_clipper_logs(str(tmp_path))

    names = [path.rpartition("/")[2] for path in paths]
    assert all(re.fullmatch(r"image_(sha256:)?[0-9a-f]+:container_[0-9a-f]+\.log", name) for name in names)
    assert len(set(names)) == len(cluster.cm._lifecycle.members())  # type: ignore[attr-defined]


def test_models_are_deployed_from_the_clusters_own_image(cluster: ClipperConnection, backend: DockerBackend) -> None:
    python_deployer.deploy_python_closure(cluster, "same-make", 1, "doubles", feature_sum)

    image = backend.client.images.get(f"{cluster.cm.cluster_name}-same-make:1")
    (frontend,) = backend.members(cluster.cm.cluster_name, Role.QUERY_FRONTEND)
    layers = frontend.image.attrs["RootFS"]["Layers"]
    assert image.attrs["RootFS"]["Layers"][: len(layers)] == layers
    assert image.labels[CLIPPER_DOCKER_LABEL] == cluster.cm.cluster_name


def test_docker_client_is_public(cluster: ClipperConnection) -> None:
    """Clipper's scripts use these attributes."""
    manager: Any = cluster.cm
    assert isinstance(manager.docker_client, docker.DockerClient)
    assert manager.common_labels == {CLIPPER_DOCKER_LABEL: manager.cluster_name}
    assert json.dumps(manager.extra_container_kwargs) == "{}"
