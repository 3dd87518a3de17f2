"""The parts of the Docker backend that need no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clipper_magic import DockerContainerManager
from clipper_magic.container_manager import ClusterOptions, Replica
from clipper_magic.exceptions import BackendError
from clipper_magic.managers import docker_labels
from clipper_magic.managers.docker_engine import unavailable
from clipper_magic.managers.docker_keeper import DeathWatch
from clipper_magic.managers.docker_labels import read_cluster, read_replica, replica_labels
from clipper_magic.managers.docker_metrics import new_config_path, remove_config, render_config
from serving_image.debian_root import DebianError


def event(action: str, container: str = "c1", signal: str = "") -> dict[str, Any]:
    return {"Action": action, "Actor": {"ID": container, "Attributes": {"signal": signal} if signal else {}}}


# --- what has to be started again ---


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event("kill", signal="9"), event("die")], ["", "start"]),
        ([event("die")], [""]),  # it crashed: the engine starts it itself
        ([event("kill", signal="15"), event("die")], ["", ""]),  # docker stop
        ([event("kill", signal="15"), event("kill", signal="9"), event("die")], ["", "", ""]),  # and it was slow
        ([event("kill", signal="1"), event("die")], ["", ""]),
        ([event("kill", signal="9"), event("die", "c2")], ["", ""]),
        ([event("health_status: unhealthy")], ["restart"]),
        ([event("health_status: healthy")], [""]),
    ],
    ids=["killed", "crashed", "stopped", "stopped-slowly", "hangup", "another", "frozen", "healthy"],
)
def test_death_watch(events: list[dict[str, Any]], expected: list[str]) -> None:
    watch = DeathWatch()

    assert [watch.observe(each) for each in events] == expected


def test_death_watch_forgets_what_started_again() -> None:
    watch = DeathWatch()
    for each in (event("kill", signal="15"), event("die"), event("start"), event("kill", signal="9")):
        watch.observe(each)

    assert watch.observe(event("die")) == "start"


# --- Prometheus ---


def test_config_names_every_target() -> None:
    text = render_config("a cluster", ["query_frontend-1:1337", "mgmt_frontend-2:1338"], {"m:1": ["m_1-7:7000"]})

    assert text.splitlines()[3:] == [
        "  evaluation_interval: 5s",
        '  external_labels: {cluster: "a cluster"}',
        "scrape_configs:",
        "  - job_name: frontends",
        "    static_configs:",
        '      - targets: ["mgmt_frontend-2:1338", "query_frontend-1:1337"]',
        "  - job_name: replicas",
        "    static_configs:",
        '      - targets: ["m_1-7:7000"]',
        '        labels: {model: "m:1"}',
    ]


def test_config_without_replicas() -> None:
    assert "replicas" not in render_config("c", ["f:1"], {}).partition("scrape_configs")[2]


def test_only_our_own_configuration_is_removed(tmp_path: Path) -> None:
    foreign = tmp_path / "prometheus.yml"
    foreign.write_text("precious")
    ours = tmp_path / Path(new_config_path()).name
    ours.write_text("")

    for path in (foreign, ours, ours):
        remove_config(str(path))

    assert (foreign.exists(), ours.exists()) == (True, False)


# --- labels ---


def test_replica_survives_its_labels() -> None:
    replica = Replica("sum-model", "2", 3, "sum-model_2-44:7000")

    labels = replica_labels(replica)

    assert labels["ai.clipper.model_container.label"] == "sum-model_2"
    assert read_replica("sum-model_2-44", labels, 7000) == replica


def test_cluster_needs_both_frontends() -> None:
    query = {
        docker_labels.QUERY_PORT: "1337",
        docker_labels.REPLICA_PORT: "7000",
        docker_labels.CLUSTER_ID: "id",
        docker_labels.PROTOCOL: "1",
        docker_labels.SERVING_IMAGE: "image",
    }
    management = {docker_labels.MANAGEMENT_PORT: "1338"}

    assert read_cluster([query]) is None
    assert read_cluster([management]) is None
    found = read_cluster([query, management, {}])
    assert found is not None
    assert (found.query_port, found.management_port, found.metric_port) == (1337, 1338, 0)


# --- arguments and errors ---


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"docker_network": "host"}, "docker-host-network"),
        ({"redis_ip": "localhost"}, "redis-on-localhost"),
        ({"redis_ip": "127.0.0.1"}, "redis-on-localhost"),
        ({"cluster_name": "no/such name"}, "bad-cluster-name"),
    ],
)
def test_argument_that_cannot_work_is_refused(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(BackendError) as caught:
        DockerContainerManager(**arguments)

    assert caught.value.code == code


def test_centralized_log_is_taken_with_a_word_on_where_the_logs_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts of Clipper's users pass it; what it was for, all logs in one place, get_clipper_logs() does."""
    assert not DockerContainerManager("quiet").centralize_log
    assert capsys.readouterr().err == ""
    assert DockerContainerManager("central", use_centralized_log=True).centralize_log
    line = capsys.readouterr().err
    assert "WARNING" in line and "[central] use_centralized_log starts no fluentd: get_clipper_logs() gathers" in line


def test_second_query_frontend_is_refused() -> None:
    with pytest.raises(BackendError, match="one query frontend, and 2 were asked for") as caught:
        DockerContainerManager().start_clipper(ClusterOptions(num_frontend_replicas=2))
    assert "scale-out hasn't been implemented" in caught.value.msg, "Clipper's words, for programs"


def test_clippers_arguments_are_taken_in_clippers_order() -> None:
    manager = DockerContainerManager(
        "name", "localhost", False, 24224, 2337, 2338, 7001, None, 6380, 9091, "net", {"mem_limit": "1g"}
    )

    assert (manager.cluster_name, manager.docker_network, manager.public_hostname) == ("name", "net", "localhost")
    assert manager.extra_container_kwargs == {"mem_limit": "1g"}


@pytest.mark.parametrize(
    ("host", "expected"), [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")]
)
def test_ports_are_published_where_the_user_says(host: str, expected: str) -> None:
    assert DockerContainerManager(docker_ip_address=host)._options.publish_ip() == expected


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (PermissionError(13, "Permission denied"), "docker-permission"),
        (ConnectionRefusedError(111, "Connection refused"), "docker-stopped"),
        (TimeoutError("timed out"), "docker-unavailable"),
    ],
)
def test_cause_is_found_wherever_the_client_hides_it(cause: OSError, code: str) -> None:
    """urllib3 and requests keep the first cause in ``args`` only."""
    wrapped = RuntimeError("Error while fetching server API version", ("Connection aborted.", cause))

    assert unavailable(wrapped).code == code


# --- base images ---


def test_another_python_than_debians_is_refused(tmp_path: Path) -> None:
    from serving_image import base_image

    class Archive:
        def python_versions(self) -> list[str]:
            return ["3.9"]

    with pytest.raises(DebianError) as caught:
        base_image._file_system(Archive(), base_image.recipes()["python"], tmp_path)  # type: ignore[arg-type]

    running = base_image.PYTHON_VERSION
    assert str(caught.value).startswith(f"Debian's packages here have Python 3.9, the kernel runs {running}. Fix:")
