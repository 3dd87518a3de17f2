"""Install peers, each in an environment of its own: ``python -m tests.benchmarks.install mosec ray-serve``.

The environments are made under $VENVS, by default ``peers`` in the directory for temporary files. One that is ready
is kept. Each gets the scikit-learn of the environment that runs this, so that w3 is the same model for all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import venv
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.measured_server import PEERS, VENVS

TIMEOUT_S = 900.0
SIZE = "size.json"
READY = "ready"


class InstallError(RuntimeError):
    """A peer could not be installed."""


def list_peers() -> list[str]:
    """Return the names of the peers."""
    return sorted(path.parent.name for path in PEERS.glob("*/peer.json"))


def model_requirement() -> str:
    """Return what the models need."""
    return f"scikit-learn=={version('scikit-learn')}"


def is_installed(name: str) -> bool:
    """Tell whether the environment of a peer is ready; one that needs no packages always is."""
    ready = VENVS / name / READY
    if not (PEERS / name / "requirements.txt").exists():
        return True
    return ready.exists() and ready.read_text().strip() == model_requirement()


def install(name: str) -> None:
    """Make the environment of a peer, or bring its model packages up to date.

    Seconds and MiB of the peer alone are written to its size.json, before the model's packages are added.

    Raises
    ------
    InstallError
        With the end of pip's output.
    """
    if is_installed(name):
        return
    environment = VENVS / name
    if not (environment / SIZE).exists():
        venv.create(environment, clear=True, with_pip=True)
        empty_mib, begin_s = measure_mib(environment), time.monotonic()
        run_pip(name, "--requirement", str(PEERS / name / "requirements.txt"))
        size = {
            "install_s": round(time.monotonic() - begin_s),
            "venv_mib": measure_mib(environment),
            "empty_venv_mib": empty_mib,
        }
        (environment / SIZE).write_text(json.dumps(size) + "\n")
    run_pip(name, model_requirement())
    (environment / READY).write_text(model_requirement() + "\n")


def run_pip(name: str, *words: str) -> None:
    """Install into the environment of a peer."""
    command = [str(VENVS / name / "bin" / "python"), "-m", "pip", "install", "--quiet", *words]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise InstallError(f"{name} could not be installed:\n{done.stdout[-2000:]}")


def measure_mib(directory: Path) -> int:
    """Return the size on disk of a directory."""
    return round(sum(path.lstat().st_blocks * 512 for path in directory.rglob("*")) / 2**20)


def read_size(name: str) -> dict[str, int]:
    """Return what `install` wrote of a peer's size, empty for one that was not installed."""
    path = VENVS / name / SIZE
    return dict(json.loads(path.read_text())) if path.exists() else {}


def install_all(names: Iterable[str]) -> list[str]:
    """Install peers one after the other; return those that are ready, and say which are not."""
    ready = []
    for name in names:
        if not is_installed(name):
            print(f"installing {name} in {VENVS / name}", flush=True)
        try:
            install(name)
            ready.append(name)
        except (InstallError, subprocess.TimeoutExpired) as error:
            print(f"left out: {error}", file=sys.stderr, flush=True)
    return ready


def main() -> int:
    """Install the peers named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.install", description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"all, if none is named; {', '.join(list_peers())}")
    names = parser.parse_args().peers or list_peers()
    if unknown := set(names) - set(list_peers()):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(list_peers())}")
    return 0 if len(install_all(names)) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
