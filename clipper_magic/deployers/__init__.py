"""Deployers: each puts one kind of model into service with one call."""

from clipper_magic.deployers import python

__all__ = ["python"]
