"""What the parts of a custom resource share: the frozen base, CEL rules, and the string types of Kubernetes."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.json_schema import WithJsonSchema

GROUP = "voxraga.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class Part(BaseModel):
    """A part of a custom resource. The docstring under a field is what `kubectl explain` prints.

    Unknown fields are ignored: the API server prunes them, and a status written by a newer version must still be read.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    def to_json(self) -> dict[str, Any]:
        """As the API server would return it: camelCase, without what is not set."""
        return self.model_dump(mode="json", exclude_none=True)


def rule(expression: str, message: str, *, field_path: str | None = None) -> dict[str, str]:
    """A CEL rule for the API server to hold; the message says what to do."""
    validation = {"rule": expression, "message": message}
    return validation if field_path is None else validation | {"fieldPath": field_path}


def rules(*validations: dict[str, str]) -> JsonDict:
    return {"x-kubernetes-validations": [dict(validation) for validation in validations]}


def map_list(*keys: str) -> JsonDict:
    """A list whose items are told apart by keys, so that several managers can own items of it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def set_list() -> JsonDict:
    return {"x-kubernetes-list-type": "set"}


def atomic_list() -> JsonDict:
    return {"x-kubernetes-list-type": "atomic"}


DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
QUANTITY_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]{1,2}))?$"
LABEL_KEY_PATTERN = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
# A relative path inside a volume or a model: no empty, "." or ".." segment, no backslash, no leading or trailing slash.
RELATIVE_PATH_RULE = rule(
    r"!self.matches('(^|/)[.]{0,2}(/|$)') && !self.contains('\\')",
    "must be a relative path without empty, '.' or '..' segments",
)

DnsLabel = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
DnsName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_NAME_PATTERN)]
Identifier = Annotated[str, Field(min_length=1, max_length=253)]
Text = Annotated[str, Field(max_length=1024)]
ImageReference = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^\S+$")]
QualifiedName = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=16384)]], Field(max_length=64)]

GoDuration = Annotated[str, Field(max_length=32, pattern=DURATION_PATTERN)]
"""A duration as Go and Kubernetes write it: "30s", "1h30m", "500ms"."""

QuantityString = Annotated[str, Field(min_length=1, max_length=32, pattern=QUANTITY_PATTERN)]
"""A quantity that is always written as a string, so that CEL can compare it."""

_QUANTITY_SCHEMA: JsonDict = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "maxLength": 32,
    "pattern": QUANTITY_PATTERN,
}

Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value),
    Field(max_length=32, pattern=QUANTITY_PATTERN),
    WithJsonSchema(_QUANTITY_SCHEMA),
]
"""A quantity as in any pod: 2, "500m", "1.5Gi"."""


def quantity_between(least: str, most: str) -> WithJsonSchema:
    """Bounds a Quantity."""
    expression = (
        f"quantity(string(self)).compareTo(quantity('{least}')) >= 0"
        f" && quantity(string(self)).compareTo(quantity('{most}')) <= 0"
    )
    return WithJsonSchema({**_QUANTITY_SCHEMA, **rules(rule(expression, f"must be between {least} and {most}"))})


Quantities = Annotated[dict[str, Quantity], Field(max_length=16)]

Anything = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""A structure of Kubernetes' own that is handed on as it is."""

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """How long a GoDuration is."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", duration)
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


def between(least: str, most: str) -> JsonDict:
    """The rule that bounds a GoDuration."""
    expression = f"duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    return rules(rule(expression, f"must be between {least} and {most}"))
