"""The inputs that are known: each target's seeds, and what was found with them once."""

import functools
from pathlib import Path

from tests.fuzz import FINDS
from tests.fuzz.seeds import SEEDS


@functools.cache
def inputs() -> dict[str, list[bytes]]:
    """By target."""
    return {name: [*seeds(), *map(Path.read_bytes, sorted(FINDS.glob(f"{name}/*")))] for name, seeds in SEEDS.items()}
