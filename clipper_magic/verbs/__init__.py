"""The verbs of ``ClipperConnection``, by what they are about."""
