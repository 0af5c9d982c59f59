"""A real operator process on a real API server, and a kubelet that is played: pods do as the test says."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests import ports
from tests.cluster import audit
from tests.cluster.controlplane import ControlPlane
from voxraga_operator.cluster import Cluster

ROOT = Path(__file__).parents[3]
SERVICE_ACCOUNT = "system:serviceaccount:voxraga-system:voxraga-operator"
PATIENCE = 120.0  # seconds; only for what never comes

Object = dict[str, Any]


def service_account_kubeconfig(plane: ControlPlane, folder: Path) -> Path:
    """The operator's own rights: what a manifest forgets fails here, and not at a user's."""
    token = plane.kubectl("create", "token", "voxraga-operator", "-n", "voxraga-system", "--duration=2h").strip()
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    file = folder / "operator.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config))
    return file


class Process:
    """`voxraga-operator run` as in a pod, but for where its credentials come from."""

    def __init__(self, kubeconfig: Path, log: Path, *arguments: str, **settings: str) -> None:
        (self.port,) = ports.free(1)
        self.log = log
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {
            "PYTHONPATH": str(ROOT / "operator"),
            "PYTHONUNBUFFERED": "1",
            "VOXRAGA_OPERATOR_LISTEN": "127.0.0.1",
            "VOXRAGA_OPERATOR_PORT": str(self.port),
            "VOXRAGA_OPERATOR_NAMESPACE": "voxraga-system",
            **{f"VOXRAGA_OPERATOR_{name.upper()}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "voxraga_operator", "run", "--kubeconfig", str(kubeconfig), *arguments]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, env=environment, stderr=output, stdout=output, cwd=log.parent)

    def get(self, path: str) -> tuple[int, str]:
        done = subprocess.run(
            ["curl", "-s", "--noproxy", "*", "-m", "5", "-w", "\n%{http_code}", f"http://127.0.0.1:{self.port}{path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        text, _, status = done.stdout.rpartition("\n")
        return int(status or 0), text

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        return self.get("/readyz")[0] == 200

    def metric(self, line: str) -> float:
        found = [text for text in self.get("/metrics")[1].splitlines() if text.startswith(line)]
        return sum(float(text.rpartition(" ")[2]) for text in found)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            assert time.monotonic() < deadline, f"not ready: {self.get('/readyz')}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)  # the grace that a pod has

    def entries(self) -> list[Object]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


MODEL = {
    "name": "demo",
    "architecture": "speedy_speech",
    "sampleRate": 22050,
    "languages": ["en"],
    "voices": ["slt"],
    "license": "Apache-2.0",
}
PUBLISHED = {"outcome": "Published", "digest": "sha256:" + "a" * 64, "bytes": 9300000, "revision": "1", "model": MODEL}


@dataclass
class World:
    plane: ControlPlane
    cluster: Cluster
    namespace: str
    fetch_says: Object = field(default_factory=lambda: dict(PUBLISHED))
    fetches_end: bool = True
    servers_start: bool = True

    # --- what the test does ---

    def apply(self, manifest: Object) -> str:
        return self.plane.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(manifest))

    def kubectl(self, *arguments: str) -> str:
        return self.plane.kubectl(*arguments, "-n", self.namespace)

    def patch(self, kind: str, name: str, patch: Object | list[Object]) -> None:
        how = "json" if isinstance(patch, list) else "merge"
        self.kubectl("patch", kind, name, f"--type={how}", "-p", json.dumps(patch))

    async def get(self, kind: str, name: str) -> Object | None:
        return await self.cluster.get(kind, self.namespace, name)

    async def have(self, kind: str, name: str) -> Object:
        found = await self.get(kind, name)
        assert found is not None, f"no {kind} {name}"
        return found

    async def condition(self, kind: str, name: str = "narrator") -> Object:
        model = await self.get("VoiceModel", name) or {}
        conditions: list[Object] = (model.get("status") or {}).get("conditions") or []
        return next((condition for condition in conditions if condition["type"] == kind), {})

    async def until(self, what: str, holds: Callable[[], Awaitable[Any]], seconds: float = PATIENCE) -> Any:
        """Plays the kubelet until something holds; its value."""
        deadline = time.monotonic() + seconds
        while True:
            await self.play()
            if value := await holds():
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{await self.picture()}")
            await asyncio.sleep(0.1)

    async def ready(self, name: str = "narrator") -> Object:
        async def holds() -> Object | None:
            condition = await self.condition("Ready", name)
            model = await self.have("VoiceModel", name)
            current = condition.get("observedGeneration") == model["metadata"]["generation"]
            return model if condition.get("status") == "True" and current else None

        found: Object = await self.until(f"{name} is ready", holds)
        return found

    async def reason(self, kind: str, reason: str, name: str = "narrator") -> Object:
        async def holds() -> Object | None:
            condition = await self.condition(kind, name)
            return condition if condition.get("reason") == reason else None

        found: Object = await self.until(f"{kind} says {reason}", holds)
        return found

    def writes(self, since: int) -> list[str]:
        """What the operator has written here since the audit log had that length."""
        return audit.writes(audit.entries(self.plane.audit_log, since, SERVICE_ACCOUNT), self.namespace)

    async def quiet(self) -> int:
        """Until the operator writes nothing more: the last controllers have had their say. The audit log's length."""
        since = 0

        async def holds() -> bool:
            nonlocal since
            since = audit.end(self.plane.audit_log)
            await asyncio.sleep(1.5)
            return self.writes(since) == []

        await self.until("the operator is quiet", holds)
        return since

    async def picture(self) -> str:
        models = await self.cluster.list("VoiceModel", self.namespace)
        pods = [(pod["metadata"]["name"], pod.get("status", {}).get("phase")) for pod in await self.pods()]
        return json.dumps({"status": [model.get("status") for model in models], "pods": pods}, indent=1)[:6000]

    # --- what the kubelet would do ---

    async def pods(self) -> list[Object]:
        return await self.cluster.list("Pod", self.namespace)

    async def play(self) -> None:
        for pod in await self.pods():
            component = (pod["metadata"].get("labels") or {}).get("app.kubernetes.io/component")
            phase = (pod.get("status") or {}).get("phase")
            if pod["metadata"].get("deletionTimestamp") or phase in {"Succeeded", "Failed"}:
                continue
            if component == "fetch" and self.fetches_end:
                self._fetched(pod)
            elif component == "server" and self.servers_start and phase != "Running":
                self._started(pod)

    def _fetched(self, pod: Object) -> None:
        published = self.fetch_says["outcome"] == "Published"
        code = 0 if published else 1 if self.fetch_says["retriable"] else 2
        ended = {
            "exitCode": code,
            "reason": "Completed" if published else "Error",
            "message": json.dumps(self.fetch_says),
        }
        self._report(pod, "Succeeded" if published else "Failed", {"terminated": ended}, ready="False")

    def _started(self, pod: Object) -> None:
        self._report(pod, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, ready="True")

    def _report(self, pod: Object, phase: str, state: Object, *, ready: str) -> None:
        container = pod["spec"]["containers"][0]
        status = {
            "phase": phase,
            "conditions": [
                {"type": kind, "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}
                for kind in ("Ready", "ContainersReady")
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "restartCount": 0,
                    "ready": ready == "True",
                    "state": state,
                },
            ],
        }
        name = pod["metadata"]["name"]
        try:
            self.kubectl(
                "patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
            )
        except RuntimeError as error:
            if "not found" not in str(error):  # it went away meanwhile
                raise


def voicemodel(**spec: Any) -> Object:
    return {
        "apiVersion": "voxraga.io/v1alpha1",
        "kind": "VoiceModel",
        "metadata": {"name": "narrator"},
        "spec": {"source": {"builtin": {"name": "demo"}}, **spec},
    }
