"""Labels and annotations: what tells our objects from others', and one VoiceModel's from another's."""

import hashlib
from typing import Literal

from voxraga_operator.api.voicemodel import VoiceModel

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "voxraga-operator"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
NAME = "app.kubernetes.io/name"

KEY = "voxraga.io/key"
"""Label of a Job and of pods: the key of the model that they fetch or serve."""
STORE = "voxraga.io/store"
"""Label of pods: the claim that they mount."""
TEMPLATE = "voxraga.io/template"
"""Annotation: digest of what was wanted when the object was last applied."""
CLAIM_UID = "voxraga.io/claim-uid"
"""Annotation of a Job: the very claim that it fills."""

Component = Literal["server", "fetch", "store"]

_LONGEST_VALUE = 63


def labels(model: VoiceModel, component: Component) -> dict[str, str]:
    """All labels of a child."""
    return selector_labels(model, component) | {"app.kubernetes.io/part-of": "voxraga", MANAGED_BY: MANAGER}


def selector_labels(model: VoiceModel, component: Component) -> dict[str, str]:
    """The labels by which a child's pods are selected; they can never change."""
    return {NAME: "voicemodel", INSTANCE: model.metadata.name, COMPONENT: component}


def selector(wanted: dict[str, str]) -> str:
    """A label selector, as the API server takes it in a query."""
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def store_value(claim: str) -> str:
    """A claim's name as a label's value: a name that is too long for one is told apart by its digest."""
    if len(claim) <= _LONGEST_VALUE:
        return claim
    return f"{claim[:40].rstrip('-.')}-{hashlib.sha256(claim.encode()).hexdigest()[:16]}"
