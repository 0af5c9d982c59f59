"""Ask a Service for speech from inside the cluster, by DNS name, virtual IP and kube-proxy, as an application would."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from tests.e2e.kube import Kube

# Runs in a pod; answers one JSON line a request, so that one exec serves many.
CLIENT = """
import base64, json, sys, time, urllib.error, urllib.request
for line in sys.stdin:
    ask = json.loads(line)
    request = urllib.request.Request(ask["url"], json.dumps(ask["body"]).encode(), {"Content-Type": "application/json"})
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            status, headers, body = answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refusal:
        status, headers, body = refusal.code, dict(refusal.headers), refusal.read()
    print(json.dumps({"status": status, "headers": headers, "body": base64.b64encode(body).decode(),
                      "seconds": time.monotonic() - begun}), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


def speak(kube: Kube, url: str, requests: list[dict[str, Any]]) -> list[Answer]:
    """POST each body to `url`/v1/audio/speech from inside a pod of `narrator`, in order.

    Not from a pod of what is asked: while that one rolls, kubectl would pick a pod that is just going.
    """
    lines = "\n".join(json.dumps({"url": f"{url}/v1/audio/speech", "body": body}) for body in requests)
    printed = kube(
        "exec", "-i", "deploy/narrator", "-c", "server", "--", "python3", "-c", CLIENT, stdin=lines + "\n", timeout=600
    )
    return [
        Answer(a["status"], a["headers"], base64.b64decode(a["body"]), a["seconds"])
        for a in map(json.loads, printed.splitlines())
    ]
