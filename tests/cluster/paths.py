"""Where the cluster's files lie: what is kept (cache) and what `down` removes (state)."""

import os
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


def cache() -> Path:
    """Binaries, base images and unpacked image layers: kept, because they cost minutes."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "voxraga"


def state() -> Path:
    """Everything of a running cluster: gone after `down`."""
    return Path(os.environ.get("VOXRAGA_CLUSTER_DIR") or Path(tempfile.gettempdir()) / "voxraga-cluster")
