"""Benchmarks of clipper_magic: life cycle, load beside other model servers, and experiments; see README.md."""
