"""The PersistentVolumeClaim of the model store."""

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan.canonical import canonical_quantity, compact
from voxraga_operator.plan.names import claim_name
from voxraga_operator.plan.objects.child import child
from voxraga_operator.plan.types import Manifest


def claim(model: VoiceModel, *, size: str, access_modes: list[str], storage_class: str | None) -> Manifest:
    """With deletionPolicy Retain the claim has no owner, so that nothing deletes it with the VoiceModel."""
    spec = {
        "accessModes": access_modes,
        "resources": {"requests": {"storage": canonical_quantity(size)}},
        "storageClassName": storage_class,
    }
    owned = model.spec.store.deletion_policy == "Delete"
    return child(model, "v1", "PersistentVolumeClaim", claim_name(model), "store", spec=compact(spec), owned=owned)
