"""What a local cluster that was stopped has left for the next of its name."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from clipper_magic.log import ClusterLogger
from clipper_magic.managers.cluster_directory import ClusterDirectory


class KeptState:
    """The state and the images of a stopped cluster.

    The directory of a cluster that runs does not outlive the machine, and must hold sockets and a database in use;
    this one is in the user's home, holds neither, and is written when the cluster has ended.

    Parameters
    ----------
    path : Path
        Where they are; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def locate(cls, cluster_name: str) -> KeptState:
        """Return what the last cluster of a name left, or would leave: below ``$XDG_STATE_HOME``."""
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return cls(Path(base, "clipper_magic", cluster_name))

    def exists(self) -> bool:
        """Return whether there is any."""
        return self.path.is_dir()

    def save(self, directory: ClusterDirectory) -> None:
        """Take what is to be kept from a cluster's directory, whose processes have ended, in place of what was here."""
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        draft.mkdir(mode=0o700, parents=True)
        try:
            for part in directory.state_files():
                shutil.copy2(part, draft)
            shutil.copytree(directory.images, draft / directory.images.name, symlinks=True)
            self.forget()
            draft.rename(self.path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise

    def take_up(self, directory: ClusterDirectory) -> None:
        """Copy it into the directory of a cluster that is to start; it stays here until that one is stopped."""
        shutil.copytree(self.path, directory.path, symlinks=True, dirs_exist_ok=True)

    def prepare(self, keep: bool, logger: ClusterLogger) -> None:
        """Say what becomes of the state at the start of a cluster; forget what is here unless ``keep``."""
        if self.exists() and keep:
            logger.info("Taking up the state of the cluster that was stopped, from %s", self.path)
        elif self.exists():
            logger.info("Forgetting the state of an earlier cluster; keep_state=True would take it up")
            self.forget()
        elif keep:
            logger.info("stop_all will keep the state, in %s", self.path)

    def forget(self) -> None:
        """Delete it; nothing there is no error."""
        shutil.rmtree(self.path, ignore_errors=True)
