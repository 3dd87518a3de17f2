"""The story of Clipper's quick start, with nothing changed but the names of package and manager."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import processes_with

FIRST_INTERPRETER = """
from clipper_magic import ClipperConnection, LocalContainerManager

clipper_conn = ClipperConnection(LocalContainerManager())

clipper_conn.start_clipper()

clipper_conn.register_application(name="hello-world", input_type="doubles", default_output="-1.0", slo_micros=100000)

print(clipper_conn.get_all_apps())

def feature_sum(xs):
    return [str(sum(x)) for x in xs]

from clipper_magic.deployers import python as python_deployer

python_deployer.deploy_python_closure(clipper_conn, name="sum-model", version=1, input_type="doubles", func=feature_sum)

clipper_conn.link_model_to_app(app_name="hello-world", model_name="sum-model")
print(clipper_conn.get_query_addr())
"""

CURL = ["curl", "-sS", "-X", "POST", "--header", "Content-Type:application/json", "-d", '{"input": [1.1, 2.2, 3.3]}']

REQUESTS = """
import requests, json, numpy as np
headers = {"Content-type": "application/json"}
print(requests.post("http://localhost:1337/hello-world/predict", headers=headers, data=json.dumps({"input": list(np.random.random(10))})).json())
"""  # noqa: E501

SECOND_INTERPRETER = """
from clipper_magic import ClipperConnection, LocalContainerManager
clipper_conn = ClipperConnection(LocalContainerManager())
clipper_conn.connect()

clipper_conn.stop_all()
"""

LINE = re.compile(r"\d\d-\d\d-\d\d:\d\d:\d\d:\d\d (?P<level>[A-Z]+) +\[\w+\.py:\d+\] (?P<text>.*)")


@pytest.fixture
def machine() -> Iterator[dict[str, str]]:
    """An environment with runtime files of its own: the story uses the default cluster, which may run already."""
    directory = tempfile.mkdtemp(prefix="seed")
    yield {**os.environ, "XDG_RUNTIME_DIR": directory}
    left = [*processes_with(directory), *Path(directory).iterdir()]
    shutil.rmtree(directory)
    assert left == []


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def log_texts(stderr: str) -> list[str]:
    """Return ``LEVEL text`` of each line, without what differs from run to run; every line must be a log line."""
    texts = []
    for line in stderr.splitlines():
        match = LINE.fullmatch(line)
        assert match, f"not a log line: {line!r}"
        text = re.sub(r"/\S+clipper\b", "DIR", match["text"])
        texts.append(f"{match['level']} {text}")
    return [text for text in texts if " is taken, using port " not in text]


def test_the_quick_start(machine: dict[str, str]) -> None:
    first = run(FIRST_INTERPRETER, machine)
    apps, address = first.stdout.splitlines()
    try:
        assert apps == "['hello-world']"
        assert log_texts(first.stderr) == [
            "INFO [default-cluster] Clipper is running",
            "INFO [default-cluster] Application hello-world was successfully registered",
            "INFO Saving function to DIR",
            "INFO Serialized and supplied predict function",
            "INFO Python closure saved",
            f"INFO Using Python {sys.version_info.major}.{sys.version_info.minor} base image",
            "INFO [default-cluster] Building model image with model data from DIR",
            "INFO [default-cluster] Successfully built default-cluster-sum-model:1",
            "INFO [default-cluster] Found 0 replicas for sum-model:1. Adding 1",
            "INFO [default-cluster] Successfully registered model sum-model:1",
            "INFO [default-cluster] Done deploying model sum-model:1.",
            "INFO [default-cluster] Model sum-model is now linked to application hello-world",
        ]

        url = f"http://{address}/hello-world/predict"
        curl = subprocess.run([*CURL, url], capture_output=True, text=True, check=True)
        assert curl.stdout == '{"query_id":0,"output":6.6,"default":false}'

        answer = run(REQUESTS.replace("localhost:1337", address), machine).stdout
        assert re.fullmatch(r"\{'query_id': 1, 'output': \d\.\d+, 'default': False\}\n", answer)
        assert json.loads(answer.replace("'", '"').replace("False", "false"))["output"] < 10
    finally:
        second = run(SECOND_INTERPRETER, machine)

    assert log_texts(second.stderr) == [
        f"INFO [default-cluster] Successfully connected to Clipper cluster at {address}",
        "INFO [default-cluster] Stopped all Clipper cluster and all model containers",
    ]
