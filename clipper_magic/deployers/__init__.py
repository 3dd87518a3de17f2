"""Deployers: each puts one kind of model into service with one call."""

from clipper_magic.deployers import onnx, python, pytorch, sklearn

__all__ = ["onnx", "python", "pytorch", "sklearn"]
