"""Turns the pydantic models into CustomResourceDefinitions that the API server accepts as structural schemas."""

from typing import Any

import yaml
from pydantic import BaseModel

from voxraga_operator.api.common import GROUP, VERSION
from voxraga_operator.api.voicemodel import KIND, PLURAL, VoiceModelSchema

FILE = f"{GROUP}_{PLURAL}.yaml"
"""Name of the generated file in `crds/`."""

HEADER = "# Generated from operator/voxraga_operator/api by `python -m voxraga_operator crds`. Do not edit.\n"

Schema = dict[str, Any]

_COLUMNS = (
    ("Model", "string", ".status.model.name", 0, "Name of the model"),
    ("Device", "string", ".status.device.active", 0, "What it runs on"),
    ("Ready", "string", ".status.ready", 0, "Pods that answer of those wanted"),
    ("Phase", "string", ".status.phase", 0, "The whole in one word"),
    ("URL", "string", ".status.url", 0, "Where it is reached"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Since when it has been there"),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1, "Why it is ready or not"),
    ("Store", "string", ".status.store.claim", 1, "PersistentVolumeClaim with its files"),
    ("Digest", "string", ".status.model.digest", 1, "Checksum over its files"),
    ("Task", "string", ".spec.task", 1, "What the model does"),
    ("Scaling", "string", ".status.autoscaling.mode", 1, "Who decides how many pods there are"),
    ("Message", "string", '.status.conditions[?(@.type=="Ready")].message', 1, "What to know or do"),
)

# Nothing here means anything to a structural schema, or (default) it has been looked at on its own.
_DROPPED = frozenset({"title", "examples", "default", "$defs", "const", "discriminator"})

_FORBIDDEN = frozenset({"oneOf", "allOf", "patternProperties", "prefixItems", "uniqueItems", "exclusiveMinimum"})


def render() -> str:
    """The committed file's text."""
    dumped = yaml.safe_dump(definition(), sort_keys=False, width=120, allow_unicode=True)
    return f"{HEADER}{dumped}"


def definition() -> Schema:
    """The CustomResourceDefinition of the VoiceModel."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "voxraga"}},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["voice", "voices"],
                "categories": ["all", "voxraga"],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def _version() -> Schema:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "priority": priority, "description": description}
            for name, kind, path, priority, description in _COLUMNS
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": _root(VoiceModelSchema)},
    }


def _root(model: type[BaseModel]) -> Schema:
    schema = structural(model)
    identity = {
        "apiVersion": {"type": "string", "description": "Version of this schema."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},
    }
    schema["properties"] = identity | schema["properties"]
    return schema


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model: references inlined, no nulls, defaults in canonical form."""
    generated = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(generated, generated.get("$defs", {}))


def _structural(schema: Schema, definitions: Schema) -> Schema:
    schema = _resolved(schema, definitions)
    _check(schema)
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "description" in schema:
        result["description"] = " ".join(schema["description"].split())
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if result.get("type") == "integer":
        result.setdefault("format", "int32")
    if "properties" in result:
        result["properties"] = {name: _property(below, definitions) for name, below in schema["properties"].items()}
        result.pop("additionalProperties", None)
    elif isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(result["additionalProperties"], definitions)
    if "items" in result:
        result["items"] = _structural(result["items"], definitions)
    return _ordered(result)


def _property(schema: Schema, definitions: Schema) -> Schema:
    result = _structural(schema, definitions)
    default = _default(schema.get("default"), result)
    return result if default is None else {**result, "default": default}


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """Follow `$ref` and take the null out of `anyOf: [X, null]`; what stands beside them wins over what they hold."""
    beside = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return _resolved({**definitions[name], **beside}, definitions)
    if "anyOf" in schema and not schema.get("x-kubernetes-int-or-string"):
        members = [member for member in schema["anyOf"] if member.get("type") != "null"]
        if len(members) != 1:
            raise ValueError(f"a union has no structural schema: {schema}")
        return _resolved({**members[0], **beside}, definitions)
    return schema


def _check(schema: Schema) -> None:
    banned = sorted(_FORBIDDEN & schema.keys())
    if banned:
        raise ValueError(f"{', '.join(banned)} can't stand in a structural schema: {schema}")


def _default(default: Any, schema: Schema) -> Any:
    """A default as the API server would store it. A parent's is `{}`, so that its fields' own defaults fill it;
    empty lists and maps are no defaults at all, since the API server would show them in every object.
    """
    if "properties" in schema:
        return {} if isinstance(default, dict) and _has_defaults(schema) else None
    if default in (None, [], {}):
        return None
    if isinstance(default, float) and default.is_integer():
        return int(default)
    return default


def _has_defaults(schema: Schema) -> bool:
    return any("default" in below for below in schema["properties"].values())


def _ordered(schema: Schema) -> Schema:
    """Type and description first: the file is read by people too."""
    first = [key for key in ("type", "description") if key in schema]
    last = [key for key in ("properties", "items", "additionalProperties", "required") if key in schema]
    middle = sorted(schema.keys() - set(first) - set(last))
    return {key: schema[key] for key in (*first, *middle, *last)}
