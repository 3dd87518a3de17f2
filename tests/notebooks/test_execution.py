"""The lessons and the scripts, on local processes."""

from lessons_contract import LessonsContract


class TestLocal(LessonsContract):
    """Every test of the contract."""

    backend = "local"
