"""Backends: each starts the same commands in its own way."""
