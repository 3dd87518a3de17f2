"""The log of a serving process: one line format, on standard error."""

from __future__ import annotations

import logging
import sys

DATE_FORMAT = "%y-%m-%d:%H:%M:%S"


def configure_logging(cluster: str = "") -> None:
    """Write log lines as Clipper's: ``26-01-31:12:00:00 INFO     [file.py:12] [cluster] message``.

    To be called once, by the ``main`` of a role.

    Parameters
    ----------
    cluster : str
        Its name is shown on each line; a process that serves any cluster shows none.
    """
    # A percent sign in the name would be taken for a field.
    prefix = f"[{cluster}] ".replace("%", "%%") if cluster else ""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)-8s [%(filename)s:%(lineno)d] {prefix}%(message)s",
        datefmt=DATE_FORMAT,
    )
