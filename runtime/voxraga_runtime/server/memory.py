"""How much memory there is, how much of it this process holds, and giving back what is free."""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

from voxraga_runtime.server.workers import CGROUP

SHARE = 0.8  # of the container's limit that models may fill: the rest is for the speech itself


def limit(root: Path = CGROUP) -> int | None:
    """The container's memory limit in bytes (cgroup v2, then v1); None where there is none."""
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found = int(path.read_text())
            return found if found < 1 << 60 else None  # v1 says "none" by a number near 2**63
    return None


def resident(pid: int | None = None) -> int:
    """Bytes of a process that are in memory; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def ceiling(wanted: int | None, own: int, root: Path = CGROUP, *, cache: int = 0) -> int | None:
    """Bytes that the weights of all loaded models may have: as wanted, else what the container's limit leaves them.

    `own` are the bytes of the server's own model, already loaded: what the process has beside it (Python, torch) has to
    fit too, and the `cache` of answers once it is full.
    """
    most = limit(root)
    if wanted is not None or most is None:
        return wanted
    return round(SHARE * most) - max(0, resident() - own) - cache


def give_back() -> None:
    """Return freed memory to the system: the weights of a model are one cycle of references, and glibc keeps heaps."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc has no such function
        ctypes.CDLL(None).malloc_trim(0)
