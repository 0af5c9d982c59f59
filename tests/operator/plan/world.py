"""A cluster made of plain data: takes what is planned as the API server would, and lets tests say what happens then."""

import copy
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import FIELD_MANAGER, Observed, Plan, plan
from voxraga_operator.plan.ownership import owns
from voxraga_operator.plan.types import Event, Manifest
from voxraga_operator.settings import OperatorSettings

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DEMO: dict[str, Any] = {"builtin": {"name": "demo"}}
OTHER: dict[str, Any] = {"catalog": {"name": "tts_models/en/vctk/vits"}}
REPORT = {
    "outcome": "Published",
    "digest": "sha256:1f0e",
    "bytes": 9_300_000,
    "revision": "1",
    "model": {"name": "demo", "architecture": "speedy_speech", "sampleRate": 16000, "voices": ["rms", "slt"]},
}
STANDARD = {
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "allowVolumeExpansion": True,
}

_KEYED = {
    "containers": ["name"],
    "env": ["name"],
    "ports": ["containerPort", "protocol"],
    "volumes": ["name"],
    "volumeMounts": ["mountPath"],
    "ownerReferences": ["uid"],
    "topologySpreadConstraints": ["topologyKey", "whenUnsatisfiable"],
    "imagePullSecrets": ["name"],
}


def voicemodel(name: str = "narrator", **spec: Any) -> VoiceModel:
    """A VoiceModel as the API server returns it."""
    metadata = {"name": name, "namespace": "voices", "uid": f"uid-{name}", "generation": 1}
    return VoiceModel.model_validate({"metadata": metadata, "spec": {"source": DEMO, **spec}})


def managed_fields(manifest: Manifest, manager: str = FIELD_MANAGER) -> list[dict[str, Any]]:
    content = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    return [{"manager": manager, "operation": "Apply", "fieldsV1": _fields(content)}]


def _fields(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {f"f:{key}": _fields(below, key) for key, below in value.items()}
    if isinstance(value, list) and name in _KEYED and value and "port" not in value[0]:
        return {f"k:{json.dumps({key: item[key] for key in _KEYED[name]})}": _item(item) for item in value}
    return {}


def _item(item: dict[str, Any]) -> dict[str, Any]:
    return {".": {}, **_fields(item)}


@dataclass
class World:
    """One VoiceModel and all that stands around it."""

    model: VoiceModel = field(default_factory=voicemodel)
    now: datetime = NOW
    settings: OperatorSettings = field(default_factory=OperatorSettings)
    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    pods: list[Manifest] = field(default_factory=list)
    nodes: list[Manifest] = field(default_factory=list)
    storage_classes: list[Manifest] = field(default_factory=lambda: [STANDARD])
    secrets: dict[str, bool] = field(default_factory=dict)
    source_claim: bool = False
    api_groups: frozenset[str] = frozenset({"metrics.k8s.io"})
    warnings: dict[str, tuple[Manifest, ...]] = field(default_factory=dict)
    made: int = 0

    # --- what the operator does ---

    def observed(self) -> Observed:
        name = self.model.metadata.name
        return Observed(
            claim=self.find("PersistentVolumeClaim", self.model.spec.store.existing_claim or f"{name}-store"),
            jobs=tuple(found for (kind, _), found in sorted(self.objects.items()) if kind == "Job"),
            deployment=self.find("Deployment"),
            service=self.find("Service"),
            autoscaler=self.find("HorizontalPodAutoscaler"),
            disruption_budget=self.find("PodDisruptionBudget"),
            pods=tuple(self.pods),
            nodes=tuple(self.nodes),
            storage_classes=tuple(self.storage_classes),
            source_claim_exists=self.source_claim,
            secrets=self.secrets,
            api_groups=self.api_groups,
            warnings=self.warnings,
        )

    def plan(self) -> Plan:
        return plan(self.model, self.observed(), self.settings, self.now)

    def reconcile(self) -> Plan:
        """Plan, and carry it out."""
        planned = self.plan()
        for each in planned.delete:
            found = self.objects.pop((each.kind, each.name), None)
            assert found is not None
            assert found["metadata"]["uid"] == each.uid
        for manifest in planned.handover:
            self.hand_over(manifest)
        for manifest in planned.apply:
            self.take(manifest)
        if planned.status is not None:
            self.model = self.model.model_copy(update={"status": planned.status})
        return planned

    def settle(self) -> list[Event]:
        """Reconcile until nothing changes any more; the story told meanwhile."""
        told: list[Event] = []
        for _ in range(10):
            before = copy.deepcopy((self.objects, self.model.status))
            told += self.reconcile().events
            if (self.objects, self.model.status) == before:
                return told
        raise AssertionError("the operator does not come to rest")

    def hand_over(self, manifest: Manifest) -> None:
        """Another manager owns what it names from now on."""
        live = self.found(manifest["kind"], manifest["metadata"]["name"])
        live["spec"] |= manifest["spec"]
        for name in manifest["spec"]:
            live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].pop(f"f:{name}")

    def take(self, manifest: Manifest, manager: str = FIELD_MANAGER) -> Manifest:
        """Server-side apply: what the manager no longer applies is gone, what others wrote stays."""
        manifest = copy.deepcopy(manifest)
        place = manifest["kind"], manifest["metadata"]["name"]
        before = self.objects.get(place, {"metadata": {}})
        fields = managed_fields(manifest, manager)
        for name, value in before.get("spec", {}).items():
            if name not in manifest["spec"] and not owns(before, "spec", name):
                manifest["spec"][name] = value
        generation = before["metadata"].get("generation", 0) + (before.get("spec") != manifest["spec"])
        if "uid" not in before["metadata"]:
            self.made += 1
        given = {
            "uid": before["metadata"].get("uid", f"uid-{self.made}"),
            "generation": generation,
            "managedFields": fields,
        }
        live = {**manifest, "metadata": {**manifest["metadata"], **given}, "status": before.get("status", {})}
        self.objects[place] = live
        return live

    # --- what others do ---

    def change(self, **spec: Any) -> None:
        """The user applies another spec."""
        raw = self.model.spec.to_json() | spec
        metadata = self.model.metadata.model_copy(update={"generation": self.model.metadata.generation + 1})
        spec_model = type(self.model.spec).model_validate(raw)
        self.model = self.model.model_copy(update={"spec": spec_model, "metadata": metadata})

    def bind(self) -> None:
        claim = self.found("PersistentVolumeClaim", f"{self.model.metadata.name}-store")
        claim["spec"].setdefault("storageClassName", "standard")
        claim["spec"]["volumeName"] = "pv-1"
        claim["status"] = {"phase": "Bound"}

    def job(self, index: int = -1) -> Manifest:
        return [found for (kind, _), found in self.objects.items() if kind == "Job"][index]

    def fetch_pod(self, **status: Any) -> Manifest:
        """A pod of the newest Job."""
        job = self.job()
        pod = {
            "metadata": {
                "name": f"{job['metadata']['name']}-{len(self.pods)}",
                "creationTimestamp": f"2026-05-04T12:00:{len(self.pods):02d}Z",
                "labels": job["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [{"kind": "Job", "uid": job["metadata"]["uid"], "controller": True}],
            },
            "spec": job["spec"]["template"]["spec"],
            "status": {"phase": "Pending", **status},
        }
        self.pods.append(pod)
        return pod

    def fetched(self, report: dict[str, Any] | None = None) -> None:
        """The newest Job's pod publishes the model."""
        self.fetch_pod(**ended(0, json.dumps(report or REPORT)))
        self.job()["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def fetch_failed(self, reason: str, message: str, *, retriable: bool) -> None:
        """The newest Job gives up."""
        told = {"outcome": "Failed", "reason": reason, "message": message, "retriable": retriable}
        self.fetch_pod(**ended(1 if retriable else 2, json.dumps(told)))
        self.give_up()

    def give_up(self) -> None:
        at = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at}
        self.job()["status"] = {"conditions": [failed]}

    def server_pod(self, *, ready: bool = True, created: int = 0, **status: Any) -> Manifest:
        template = self.found("Deployment")["spec"]["template"]
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        pod = {
            "metadata": {
                "name": f"{self.model.metadata.name}-{len(self.pods)}",
                "creationTimestamp": f"2026-05-04T12:01:{created:02d}Z",
                "labels": {**template["metadata"]["labels"], "pod-template-hash": f"hash-{created}"},
            },
            "spec": template["spec"],
            "status": {"phase": "Running", "conditions": conditions, **status},
        }
        self.pods.append(pod)
        return pod

    def roll_out(self, *, ready: int | None = None) -> None:
        """The cluster runs the pods of the Deployment; `ready`: how many of them answer."""
        deployment = self.found("Deployment")
        count = deployment["spec"].get("replicas", 1)
        up = count if ready is None else ready
        self.pods = [pod for pod in self.pods if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "fetch"]
        for index in range(count):
            self.server_pod(ready=index < up)
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": count,
            "readyReplicas": up,
            "availableReplicas": up,
        }

    def pass_time(self, delay: timedelta) -> None:
        self.now += delay

    # --- looking ---

    def find(self, kind: str, name: str | None = None) -> Manifest | None:
        return self.objects.get((kind, name or self.model.metadata.name))

    def found(self, kind: str, name: str | None = None) -> Manifest:
        result = self.find(kind, name)
        assert result is not None, f"there is no {kind}: {sorted(self.objects)}"
        return result

    def condition(self, kind: str) -> dict[str, Any]:
        return next(each for each in self.model.status["conditions"] if each["type"] == kind)

    def says(self, kind: str) -> tuple[str, str]:
        condition = self.condition(kind)
        return condition["status"], condition["reason"]


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    """The status of a pod whose container has ended."""
    terminated = {"exitCode": code, "message": message, "reason": "Completed" if code == 0 else reason}
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "containerStatuses": [{"name": "fetch", "state": {"terminated": terminated}}],
    }


def waiting(reason: str, message: str = "", last: dict[str, Any] | None = None) -> dict[str, Any]:
    """The status of a pod whose container does not run."""
    status = {
        "name": "server",
        "image": "voices/server:1",
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    if last is not None:
        status["lastState"] = {"terminated": last}
    return {"phase": "Pending", "containerStatuses": [status]}


def unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


def stored(**spec: Any) -> World:
    """A world where the model has been fetched and its Deployment was made."""
    world = World(model=voicemodel(**spec))
    world.settle()
    world.bind()
    world.settle()
    world.fetched()
    world.settle()
    return world


def serving(**spec: Any) -> World:
    """A world where all is as specified."""
    world = stored(**spec)
    world.roll_out()
    world.settle()
    return world
