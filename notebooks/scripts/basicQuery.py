"""Ask for predictions without end: 200 random doubles a query, until Ctrl-C.

    python basicQuery.py [--batch-size N]

The whole program of the second document. Ctrl-C ends the loop and stops the cluster.
"""

import argparse
import json
import signal
import threading
from datetime import datetime

import numpy as np
import requests

from clipper_magic import ClipperConnection, choose_container_manager
from clipper_magic.deployers import python as python_deployer

HEADERS = {"Content-type": "application/json"}
PAUSE_S = 0.2


def feature_sum(xs):
    """Return the sum of each feature vector, as a string."""
    return [str(sum(x)) for x in xs]


def predict(addr, x, batch=False):
    """Ask for the prediction of one vector, or of a batch of vectors; print the answer and how long it took."""
    url = f"http://{addr}/simple-example/predict"
    body = {"input_batch": x} if batch else {"input": list(x)}
    start = datetime.now()
    r = requests.post(url, headers=HEADERS, data=json.dumps(body), timeout=10)
    latency_ms = (datetime.now() - start).total_seconds() * 1000.0
    print(f"'{r.text}', {latency_ms:f} ms", flush=True)


def main():
    """Serve feature_sum and query it until the user interrupts."""
    parser = argparse.ArgumentParser(description="Query a served function until Ctrl-C.")
    parser.add_argument("--batch-size", type=int, default=1, help="vectors in one query (default: 1)")
    batch_size = parser.parse_args().batch_size

    interrupted = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())

    clipper_conn = ClipperConnection(choose_container_manager())
    clipper_conn.start_clipper()
    try:
        python_deployer.create_endpoint(clipper_conn, "simple-example", "doubles", feature_sum)
        # Event.wait paces the loop and ends it the moment Ctrl-C sets the event.
        while not interrupted.wait(PAUSE_S):
            if batch_size > 1:
                predict(
                    clipper_conn.get_query_addr(),
                    [list(np.random.random(200)) for _ in range(batch_size)],
                    batch=True,
                )
            else:
                predict(clipper_conn.get_query_addr(), np.random.random(200))
    finally:
        print("Stopping Clipper...", flush=True)
        clipper_conn.stop_all()


if __name__ == "__main__":
    main()
