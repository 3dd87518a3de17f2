"""Start a real cluster of the local backend that serves one workload; stop it on SIGTERM.

This process only waits. What starts and stops the cluster are processes of their own, so that their memory is not
counted as the server's.
"""

import signal
import subprocess
import sys
from pathlib import Path

CLUSTER = [sys.executable, str(Path(__file__).with_name("cluster.py"))]
SIGNALS = {signal.SIGTERM, signal.SIGINT}


def main() -> None:
    """Keep the cluster up until a signal comes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        subprocess.run([*CLUSTER, "up"], check=True)
        signal.sigwait(SIGNALS)
    finally:
        subprocess.run([*CLUSTER, "down"], check=True)


if __name__ == "__main__":
    main()
