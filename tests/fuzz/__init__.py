"""Strange bytes for whatever reads strangers' bytes."""

from pathlib import Path

FINDS = Path(__file__).parent / "finds"  # inputs that found something, by target
