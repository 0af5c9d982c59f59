"""Where a model's files are kept: a PersistentVolumeClaim, ours or the user's."""

from typing import Annotated, Literal

from pydantic import Field

from voxraga_operator.api.common import DnsName, Part, QuantityString, rule, rules


class Store(Part):
    """The volume that holds the model's files, so that a pod starts without a download."""

    size: Annotated[
        QuantityString,
        Field(
            json_schema_extra=rules(
                rule("quantity(self).isGreaterThan(quantity('0'))", "must be above 0"),
                rule(
                    "quantity(self).compareTo(quantity(oldSelf)) >= 0",
                    "a volume can only grow: give a size that is at least the earlier one",
                ),
            )
        ),
    ] = "10Gi"
    """Size of the volume. It can grow later where the StorageClass allows expansion; it can't shrink. Room for two
    models is needed while one replaces the other, and for what users upload.
    """
    storage_class_name: DnsName | None = None
    """StorageClass that provides the volume; the cluster's default one where none is given."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """ReadWriteOnce: all pods run on the node where the volume is. ReadWriteMany: they spread over nodes; the
    StorageClass must support it.
    """
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """Whether the claim stays when the VoiceModel is deleted. A VoiceModel of the same name takes a retained claim
    over.
    """
    existing_claim: DnsName | None = None
    """PersistentVolumeClaim of your own to use as the store, instead of one made by the operator; it must be
    writable, for this VoiceModel alone, and is never deleted. The other fields of the store then mean nothing.
    """
