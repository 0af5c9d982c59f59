"""Plays the cluster for the operator's plan: the claim is bound, the Job completes, and so every object is planned."""

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.cli.document import Document
from voxraga_operator.cli.failure import Failure
from voxraga_operator.plan import FIELD_MANAGER, Observed, Plan, plan, reads
from voxraga_operator.plan.types import Manifest
from voxraga_operator.settings import OperatorSettings

UID = "00000000-0000-0000-0000-000000000000"
"""In place of the uids that only a cluster gives."""

_ROUNDS = 3
"""The claim; the Job that fills it; the Deployment that serves what is in it."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Every object that a cluster would get, and the two that hold what is to be run."""

    model: VoiceModel
    objects: tuple[Manifest, ...]
    job: Manifest
    deployment: Manifest


def planned(document: Document, settings: OperatorSettings) -> Planned:
    """The objects for an admitted VoiceModel, in the order in which a cluster would get them."""
    metadata = {**document["metadata"], "uid": UID}
    model = VoiceModel.model_validate({**document, "metadata": metadata})
    objects: dict[tuple[str, str], Manifest] = {}
    last = Plan()
    for _ in range(_ROUNDS):
        last = plan(model, _observed(model, objects), settings, datetime.now(UTC))
        objects |= {(each["kind"], each["metadata"]["name"]): each for each in last.apply}
    job, deployment = (_only(objects, kind, last) for kind in ("Job", "Deployment"))
    return Planned(model=model, objects=tuple(objects.values()), job=job, deployment=deployment)


def _only(objects: dict[tuple[str, str], Manifest], kind: str, last: Plan) -> Manifest:
    found = next((each for each in objects.values() if each["kind"] == kind), None)
    if found is None:
        conditions = (last.status or {}).get("conditions") or [{}]
        raise Failure(f"no {kind} is planned for it: {conditions[0].get('message', 'the plan does not say why')}")
    return found


def _observed(model: VoiceModel, objects: dict[tuple[str, str], Manifest]) -> Observed:
    """A cluster that has whatever the VoiceModel asks for, and in which everything that was applied has come about."""
    wanted = reads(model)
    live = {place: _live(manifest) for place, manifest in objects.items()}
    observed = Observed(
        claim=live.get(("PersistentVolumeClaim", wanted.claim)),
        jobs=tuple(found for (kind, _), found in live.items() if kind == "Job"),
        service=live.get(("Service", wanted.name)),
        nodes=(_node(model),),
        storage_classes=(_storage_class(model),),
        source_claim_exists=True,
        secrets=dict.fromkeys(wanted.secrets, True),
        api_groups=frozenset({"metrics.k8s.io"}),
    )
    if model.spec.store.existing_claim:
        return replace(observed, claim={"metadata": {"uid": UID}, "spec": {"accessModes": _modes(model)}})
    return observed


def _live(manifest: Manifest) -> Manifest:
    live = copy.deepcopy(manifest)
    live["metadata"] |= {"uid": UID, "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply"}]}
    if live["kind"] == "PersistentVolumeClaim":
        live["spec"]["volumeName"] = "store"
        live["status"] = {"phase": "Bound"}
    if live["kind"] == "Job":
        live["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    return live


def _modes(model: VoiceModel) -> list[str]:
    return [model.spec.store.access_mode]


def _storage_class(model: VoiceModel) -> Manifest:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {"metadata": {"name": model.spec.store.storage_class_name or "standard", "annotations": annotations}}


def _node(model: VoiceModel) -> Manifest:
    gpu = model.spec.device.gpu
    labels: dict[str, Any] = {gpu.product_label: gpu.products[0]} if gpu.products else {}
    return {"metadata": {"name": "here", "labels": labels}, "status": {"allocatable": {gpu.resource: str(gpu.count)}}}
