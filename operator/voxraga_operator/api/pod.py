"""What users add to the pods: where they run, what they are called, what stands in their environment."""

# ruff: noqa: RUF012 - pydantic copies a default for every object

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from voxraga_operator.api.common import (
    Annotations,
    Anything,
    DnsName,
    Identifier,
    Labels,
    LabelValue,
    Part,
    QualifiedName,
    atomic_list,
    map_list,
    rule,
    rules,
)

_RESERVED_LABELS = rules(
    rule(
        "self.all(key, !key.startsWith('app.kubernetes.io/') && !key.startsWith('voxraga.io/'))",
        "labels under app.kubernetes.io/ and voxraga.io/ are the operator's own",
    )
)


class KeyReference(Part):
    """A key of a Secret or a ConfigMap in the VoiceModel's namespace."""

    name: DnsName
    """Name of the object."""
    key: Identifier
    """Key in its data."""
    optional: bool | None = None
    """Whether a pod starts where the object or the key is missing."""


class FieldReference(Part):
    """A field of the pod."""

    field_path: Identifier
    """Path, such as "status.podIP"."""


class EnvSource(Part):
    """Where a variable's value comes from: set exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)]"
                ".filter(given, given).size() == 1",
                "set exactly one of secretKeyRef, configMapKeyRef or fieldRef",
            )
        )
    )

    secret_key_ref: KeyReference | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""
    field_ref: FieldReference | None = None
    """A field of the pod."""


class EnvVar(Part):
    """A variable of the server's environment."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.value) && has(self.valueFrom))", "set value or valueFrom, not both"),
        )
    )

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            json_schema_extra=rules(
                rule(
                    "!self.startsWith('VOXRAGA_')",
                    "variables that start with VOXRAGA_ are the operator's own: use the fields of spec.serving",
                )
            ),
        ),
    ]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Its value, as plain text."""
    value_from: EnvSource | None = None
    """Where its value comes from instead."""


class Toleration(Part):
    """A taint of nodes that the pods tolerate."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """Key of the taint; none, with operator Exists, means all."""
    operator: Literal["Exists", "Equal"] | None = None
    """Whether the value counts; Equal where it is not given."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; all where it is not given."""
    toleration_seconds: int | None = None
    """For how long a NoExecute taint is tolerated; for ever where it is not given."""


class TopologySpread(Part):
    """How server pods spread over zones, nodes, or whatever a node label tells apart."""

    topology_key: QualifiedName
    """Node label whose values are the places to spread over, such as "topology.kubernetes.io/zone"."""
    max_skew: Annotated[int, Field(ge=1, le=100)] = 1
    """By how many pods two places may differ."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "ScheduleAnyway"
    """Whether a pod that would break this waits or is placed all the same."""


class LocalReference(Part):
    """An object in the VoiceModel's namespace."""

    name: DnsName
    """Name of the object."""


class PodTemplate(Part):
    """What is added to the pods. Where they may run applies to the fetch Job's pods as well; env to the server only."""

    labels: Annotated[Labels, Field(json_schema_extra=_RESERVED_LABELS)] = {}
    """Labels of the pods, beside the operator's own."""
    annotations: Annotations = {}
    """Annotations of the pods."""
    node_selector: Labels = {}
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32, json_schema_extra=atomic_list())] = ()
    """Taints that the pods tolerate."""
    affinity: Anything | None = None
    """Affinity as in any pod; what the operator needs for store and device is added to it."""
    topology_spread_constraints: Annotated[
        tuple[TopologySpread, ...],
        Field(max_length=8, json_schema_extra=map_list("topologyKey", "whenUnsatisfiable")),
    ] = ()
    """How server pods spread. With a ReadWriteOnce store they all share one node, and this can do nothing."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64, json_schema_extra=map_list("name"))] = ()
    """Variables of the server's environment, beside those made from spec.serving."""
    image_pull_secrets: Annotated[
        tuple[LocalReference, ...], Field(max_length=16, json_schema_extra=map_list("name"))
    ] = ()
    """Secrets with which the image is pulled."""
    priority_class_name: DnsName | None = None
    """PriorityClass of the pods."""
    service_account_name: DnsName | None = None
    """ServiceAccount of the pods; its token is never mounted."""
