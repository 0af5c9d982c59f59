"""The only I/O with the API server."""

from voxraga_operator.cluster.client import Cluster
from voxraga_operator.cluster.config import Connection
from voxraga_operator.cluster.errors import ApiError
from voxraga_operator.cluster.events import Recorder

__all__ = ["ApiError", "Cluster", "Connection", "Recorder"]
