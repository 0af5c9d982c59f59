"""What the API server's audit log tells of who wrote what."""

import json
from pathlib import Path
from typing import Any

READS = ("get", "list", "watch")


def end(log: Path) -> int:
    """Where the next entry will begin: one that is being written counts as the next."""
    return log.read_bytes().rfind(b"\n") + 1


def entries(log: Path, since: int, user: str) -> list[dict[str, Any]]:
    """What a user did past an offset, refused and dry runs as well."""
    written = log.read_bytes()[since : end(log)]
    found = [json.loads(line) for line in written.splitlines()]
    return [entry for entry in found if entry["user"]["username"] == user]


def writes(found: list[dict[str, Any]], about: str = "") -> list[str]:
    """Those that are to change something whose address has `about` in it."""
    return [
        f"{entry['verb']} {entry['requestURI']}"
        for entry in found
        if entry["verb"] not in READS and about in entry["requestURI"]
    ]
