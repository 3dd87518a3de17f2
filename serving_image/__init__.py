"""The serving side of clipper_magic: query frontend, management frontend and model replica.

The same modules run as local processes and in containers. Nothing here imports ``clipper_magic``.
"""

PROTOCOL_VERSION = 1
