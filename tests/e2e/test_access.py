"""Keys, uploads and Home Assistant's protocol on a real node: what the kubelet mounts is what the server reads."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.kube import Kube, condition
from tests.e2e.voicemodels import voicemodel
from tests.speech import audio, judge
from tests.speech.sentences import HARVARD

pytestmark = pytest.mark.node

# Runs in a pod. Reads {"url", "key", "json" or "upload"} and answers {"status", "body"}; what is uploaded is the
# image's own voice, so that no megabytes go through kubectl.
CLIENT = """
import base64, json, os, sys, urllib.error, urllib.request, voxraga_runtime
ask = json.load(sys.stdin)
headers = {"X-API-Key": ask["key"]} if ask["key"] else {}
data = None
if "json" in ask:
    data, headers["Content-Type"] = json.dumps(ask["json"]).encode(), "application/json"
if "upload" in ask:
    folder = os.path.dirname(voxraga_runtime.__file__) + "/voices/demo/"
    field = '--x\\r\\nContent-Disposition: form-data; name="%s"%s\\r\\n\\r\\n'
    data = (field % ("model_name", "")).encode() + ask["upload"].encode() + b"\\r\\n"
    for name, file in (("model_file", "model.pth"), ("config_file", "config.json")):
        data += (field % (name, '; filename="%s"' % file)).encode() + open(folder + file, "rb").read() + b"\\r\\n"
    data, headers["Content-Type"] = data + b"--x--\\r\\n", "multipart/form-data; boundary=x"
try:
    with urllib.request.urlopen(urllib.request.Request(ask["url"], data, headers), timeout=300) as answer:
        status, body = answer.status, answer.read()
except urllib.error.HTTPError as refusal:
    status, body = refusal.code, refusal.read()
print(json.dumps({"status": status, "body": base64.b64encode(body).decode()}))
"""
# Wyoming's `describe`, and the type of what is answered.
HOME = """
import json, socket, sys
with socket.create_connection((sys.argv[1], 10300), timeout=120) as connection:
    connection.sendall(b'{"type": "describe"}\\n')
    print(json.loads(connection.makefile("rb").readline())["type"])
"""
WAV = {"response_format": "wav"}


@dataclass(frozen=True)
class Guarded:
    kube: Kube

    def ask(self, path: str, key: str | None, **body: Any) -> tuple[int, bytes]:
        url = f"http://guarded.{self.kube.namespace}.svc.cluster.local{path}"
        printed = self.run(CLIENT, stdin=json.dumps({"url": url, "key": key, **body}))
        answer = json.loads(printed)
        return answer["status"], base64.b64decode(answer["body"])

    def run(self, script: str, *arguments: str, stdin: str = "") -> str:
        where = ("exec", "-i", "deploy/narrator", "-c", "server", "--", "python3", "-c", script)
        return self.kube(*where, *arguments, stdin=stdin, timeout=300)

    def keys(self, *keys: str) -> None:
        secret = {"metadata": {"name": "voice-keys"}, "stringData": {"team": "\n".join(keys)}}
        self.kube.apply({"apiVersion": "v1", "kind": "Secret", **secret})


@pytest.fixture(scope="module")
def guarded(kube: Kube) -> Iterator[Guarded]:
    """Applied before the Secret that it names."""
    served = {"uploads": {"enabled": True}, "wyoming": {"enabled": True}, "voiceAliases": {"anna": "slt"}}
    access = {"apiKeys": {"secretName": "voice-keys"}}
    kube.apply(voicemodel("guarded", source={"builtin": {"name": "demo"}}, serving=served, access=access))
    yield Guarded(kube)
    kube("delete", "voicemodel", "guarded", "--wait=true")
    kube("delete", "secret", "voice-keys", "--ignore-not-found")


def test_a_missing_secret_is_named_and_waited_for(guarded: Guarded) -> None:
    def told() -> bool:
        seen = condition(guarded.kube.get("voicemodel", "guarded"), "Ready")
        return seen.get("reason") == "SecretNotFound" and "voice-keys" in seen["message"]

    guarded.kube.until("Ready=False SecretNotFound", told)
    guarded.keys("first-key-of-the-team")
    guarded.kube("wait", "--for=condition=Ready", "voicemodel/guarded", "--timeout=300s", timeout=310)


def test_a_key_opens_and_none_does_not(guarded: Guarded) -> None:
    body = {"input": HARVARD[2], "voice": "anna", **WAV}
    assert guarded.ask("/v1/audio/speech", None, json=body)[0] == 401
    assert guarded.ask("/v1/audio/speech", "another", json=body)[0] == 401
    status, spoken = guarded.ask("/v1/audio/speech", "first-key-of-the-team", json=body)
    assert status == 200, spoken
    assert judge.named(*audio.read(spoken), HARVARD) == HARVARD[2]
    assert guarded.ask("/v1/models", None)[0] == 200


def test_what_is_uploaded_is_kept_and_speaks(guarded: Guarded) -> None:
    status, facts = guarded.ask("/models/upload", "first-key-of-the-team", upload="house-voice")
    assert status == 201, facts
    pod = guarded.kube.list("pod", "app.kubernetes.io/instance=guarded,app.kubernetes.io/component=server")[0]
    guarded.kube("delete", "pod", pod["metadata"]["name"], "--wait=true")
    guarded.kube("rollout", "status", "deployment/guarded", "--timeout=300s", timeout=310)
    asked = {"model": "house-voice", "input": HARVARD[4], "voice": "rms", **WAV}
    status, spoken = guarded.ask("/v1/audio/speech", "first-key-of-the-team", json=asked)
    assert status == 200, spoken
    assert judge.named(*audio.read(spoken), HARVARD) == HARVARD[4]


def test_keys_are_exchanged_without_a_restart(guarded: Guarded) -> None:
    def pods() -> list[tuple[str, int]]:
        found = guarded.kube.list("pod", "app.kubernetes.io/instance=guarded,app.kubernetes.io/component=server")
        return [(p["metadata"]["uid"], p["status"]["containerStatuses"][0]["restartCount"]) for p in found]

    before = pods()
    guarded.keys("second-key-of-the-team")
    body = {"input": "Good morning.", **WAV}

    def exchanged() -> bool:  # the kubelet exchanges the files, within two minutes
        statuses = [guarded.ask("/v1/audio/speech", f"{which}-key-of-the-team", json=body)[0] for which in NEW_OLD]
        return statuses == [200, 401]

    guarded.kube.until("the new key, and no more the old one", exchanged, every=5)
    assert pods() == before


NEW_OLD = ("second", "first")


def test_home_assistant_finds_it_on_the_service(guarded: Guarded) -> None:
    host = f"guarded.{guarded.kube.namespace}.svc.cluster.local"
    assert guarded.run(HOME, host).strip() == "info"
