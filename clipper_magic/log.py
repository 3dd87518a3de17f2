"""Log lines in Clipper's format, from a logger of our own.

Importing clipper_magic leaves Python's root logger alone: one handler sits on the logger ``clipper_magic``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

LOGGER_NAME = "clipper_magic"
LINE_FORMAT = "%(asctime)s %(levelname)-8s [%(filename)s:%(lineno)d] %(message)s"
DATE_FORMAT = "%y-%m-%d:%H:%M:%S"


class StderrHandler(logging.Handler):
    """Write each line to what ``sys.stderr`` is at that moment: a cell's output, a terminal, pytest's capture."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a closed stream loses it silently, as no log line is worth an error."""
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return


class ClusterLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines begin with ``[<cluster_name>] ``, as Clipper's connection and managers do."""

    def __init__(self, logger: logging.Logger, cluster_name: str) -> None:
        super().__init__(logger, {})
        self.cluster_name = cluster_name

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the cluster's name in front."""
        return f"[{self.cluster_name}] {msg}", kwargs


def get_logger() -> logging.Logger:
    """Return the package's logger, with its handler in place.

    It does not propagate: a root handler of the user's would show every line twice.
    """
    logger = logging.getLogger(LOGGER_NAME)
    if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
        handler = StderrHandler()
        handler.setFormatter(logging.Formatter(LINE_FORMAT, DATE_FORMAT))
        logger.addHandler(handler)
        logger.propagate = False
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    return logger


def get_cluster_logger(cluster_name: str) -> ClusterLogger:
    """Return the package's logger for lines about one cluster."""
    return ClusterLogger(get_logger(), cluster_name)
