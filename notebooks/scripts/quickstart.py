"""The quickstart of the first document, as a script: each step is printed before it runs.

Runs on local processes, or in containers with CLIPPER_BACKEND=docker.
"""

import sys

import requests

from clipper_magic import ClipperConnection, choose_container_manager
from clipper_magic.deployers import python as python_deployer


def feature_sum(xs):
    """Return the sum of each feature vector, as a string."""
    return [str(sum(x)) for x in xs]


def step(number, text):
    """Print the step that is about to run."""
    print(f"\n[{number}] {text}", flush=True)


def main():
    """Start a cluster, serve a function, ask it for a prediction, stop the cluster."""
    clipper_conn = ClipperConnection(choose_container_manager())

    step(1, "Start a Clipper cluster")
    clipper_conn.start_clipper()
    try:
        step(2, 'Register the application "hello-world"')
        clipper_conn.register_application(
            name="hello-world", input_type="doubles", default_output="-1.0", slo_micros=100000
        )

        step(3, "List the applications")
        print(clipper_conn.get_all_apps())

        step(4, 'Deploy the function feature_sum as the model "sum-model"')
        python_deployer.deploy_python_closure(
            clipper_conn, name="sum-model", version=1, input_type="doubles", func=feature_sum
        )

        step(5, "Link the model to the application")
        clipper_conn.link_model_to_app(app_name="hello-world", model_name="sum-model")

        url = f"http://{clipper_conn.get_query_addr()}/hello-world/predict"
        step(6, f'Ask for a prediction: POST {url} with {{"input": [1.1, 2.2, 3.3]}}')
        answer = requests.post(url, json={"input": [1.1, 2.2, 3.3]}, timeout=10)
        print(answer.text)
        return 0 if answer.json()["output"] == 6.6 else 1
    finally:
        step(7, "Stop the cluster")
        clipper_conn.stop_all()


if __name__ == "__main__":
    sys.exit(main())
