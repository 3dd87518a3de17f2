"""Serve a function, ask it for one prediction, stop the cluster: the simplest whole program.

    python basicQuerySimplified.py

The second document describes it: an application "hello-world" that takes doubles, a model "sum-model" that returns
the sum of each vector, a link between them, one prediction for 10 random doubles over REST, and the clean-up.
"""

import json
from datetime import datetime

import numpy as np
import requests

from clipper_magic import ClipperConnection, choose_container_manager
from clipper_magic.deployers import python as python_deployer

HEADERS = {"Content-type": "application/json"}


def feature_sum(xs):
    """Return the sum of each feature vector, as a string."""
    return [str(sum(x)) for x in xs]


def predict(addr, x):
    """Ask the application for one prediction; print the answer and how long it took."""
    url = f"http://{addr}/hello-world/predict"
    start = datetime.now()
    r = requests.post(url, headers=HEADERS, data=json.dumps({"input": list(x)}), timeout=10)
    latency_ms = (datetime.now() - start).total_seconds() * 1000.0
    print(f"'{r.text}', {latency_ms:f} ms")


if __name__ == "__main__":
    # Containers where a Docker engine answers, local processes elsewhere; CLIPPER_BACKEND=docker or local decides.
    clipper_conn = ClipperConnection(choose_container_manager())
    clipper_conn.start_clipper()
    try:
        clipper_conn.register_application(
            name="hello-world", input_type="doubles", default_output="-1.0", slo_micros=100000
        )
        python_deployer.deploy_python_closure(
            clipper_conn, name="sum-model", version=1, input_type="doubles", func=feature_sum
        )
        clipper_conn.link_model_to_app(app_name="hello-world", model_name="sum-model")
        predict(clipper_conn.get_query_addr(), np.random.random(10))
    finally:
        clipper_conn.stop_all()
