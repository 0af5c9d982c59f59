"""What the figures depend on: processor, memory, limits, versions, load."""

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from voxraga_runtime.server.workers import cpu_limit

PACKAGES = ("torch", "coqui-tts", "numpy")


def cores() -> int:
    """Cores that this process may keep busy, at least one."""
    return max(1, int(cpu_limit()))


def describe() -> str:
    """One paragraph of Markdown."""
    fields = dict(_pairs(Path("/proc/cpuinfo")))
    memory = int(dict(_pairs(Path("/proc/meminfo")))["MemTotal"].split()[0]) / (1 << 20)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16") if flag in fields.get("flags", "").split()]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {fields.get('model name', platform.machine())}, {cpu_limit():g} cores "
        f"({', '.join(flags) or 'no AVX'}), {memory:.0f} GiB, Linux {platform.release().split('-')[0]}; "
        f"Python {platform.python_version()}, {versions}; float32 on CPU; load before the run "
        f"{os.getloadavg()[0]:.1f}. The clients run on the same cores. GPU: not measured."
    )


def _pairs(path: Path) -> list[tuple[str, str]]:
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return [(key.strip(), value.strip()) for key, colon, value in lines if colon]
