"""The lessons and the scripts, in containers."""

from lessons_contract import LessonsContract


class TestDocker(LessonsContract):
    """Every test of the contract."""

    backend = "docker"
