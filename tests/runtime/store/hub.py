"""A repository as a Hugging Face hub offers it, on the loopback host."""

import hashlib
import json
from typing import Any

from tests.runtime.store.host import Host

COMMIT = "1f0e" * 10


def hub(host: Host, repo: str, files: dict[str, bytes], revision: str = "main", **more: Any) -> None:
    """Offer a repository as a hub's API does: large files with their sha256, the list in pages of two."""
    info = {"sha": COMMIT, "cardData": {"license": "mit"}}
    host.put(f"/api/models/{repo}/revision/{revision}", json.dumps(info).encode(), **more)
    entries = [{"type": "directory", "path": "folder"}] + [entry(path, content) for path, content in files.items()]
    pages = [entries[begin : begin + 2] for begin in range(0, len(entries), 2)]
    for number, page in enumerate(pages):
        cursor = f"&cursor={number}" if number else ""
        path = f"/api/models/{repo}/tree/{COMMIT}?recursive=true{cursor}"
        following = f'<{host.url}/api/models/{repo}/tree/{COMMIT}?recursive=true&cursor={number + 1}>; rel="next"'
        host.put(
            path, json.dumps(page).encode(), headers={"Link": following} if number + 1 < len(pages) else {}, **more
        )
    for path, content in files.items():
        host.put(f"/{repo}/resolve/{COMMIT}/{path}", content, **more)


def entry(path: str, content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
    if path.endswith((".pth", ".safetensors")):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return found
