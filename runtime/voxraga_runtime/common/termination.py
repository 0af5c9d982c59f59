"""The last words of a program: one JSON object in the container's termination message, which the operator reads."""

import json
import os
from pathlib import Path
from typing import Any

LIMIT = 4000  # bytes; the kubelet keeps 4096
DEFAULT = "/dev/termination-log"


def write_termination_message(content: dict[str, Any], path: Path | None = None) -> None:
    """Write `content`; where there is no such file (no container) there is nobody to read it either."""
    target = path or Path(os.environ.get("VOXRAGA_TERMINATION_LOG", DEFAULT))
    message = str(content.get("message", ""))
    text = json.dumps(content, ensure_ascii=False)
    while len(text.encode()) > LIMIT and message:
        message = message[: len(message) * 3 // 4]
        text = json.dumps({**content, "message": message + "…"}, ensure_ascii=False)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError:
        return
