"""Does to a VoiceModel what the API server would: fills in the CRD's defaults, and checks it against the CRD."""

import copy
import difflib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from voxraga_operator.api import crd
from voxraga_operator.api.common import DNS_LABEL_PATTERN
from voxraga_operator.cli import rules
from voxraga_operator.cli.document import Document

DEFAULT_NAMESPACE = "default"

_LONGEST_LABEL = 63

Schema = dict[str, Any]
Mistakes = Iterator[str]


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A VoiceModel as the API server would store it, or what is wrong with it."""

    document: Document
    mistakes: tuple[str, ...]
    """Each names the field's path, what is wrong and what would be right."""
    unchecked: tuple[str, ...]
    """Rules that only a cluster can check."""


def admit(document: Document) -> Admitted:
    """Only spec counts: status and the rest of metadata are the API server's own to write."""
    given = {key: value for key, value in document.items() if key in ("apiVersion", "kind", "metadata", "spec")}
    unknown = [key for key in document if key not in {*given, "status"}]
    mistakes = [*(_unknown(key, list(_ROOT["properties"]), "") for key in unknown), *_metadata(given.get("metadata"))]
    if mistakes:
        return Admitted(document=document, mistakes=tuple(mistakes), unchecked=())
    result = _defaulted(copy.deepcopy(given), _ROOT)
    result["metadata"].setdefault("namespace", DEFAULT_NAMESPACE)
    mistakes = list(_mistakes(result, _ROOT, ""))
    unchecked: list[str] = []
    # As on the API server: rules are about values that the schema takes.
    broken = mistakes or list(_broken(result, _ROOT, "", unchecked))
    return Admitted(document=result, mistakes=tuple(broken), unchecked=tuple(unchecked))


_ROOT: Schema = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _metadata(metadata: Any) -> Mistakes:
    """Only the namespace: the name has a rule of the CRD's."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        yield "metadata.name is missing: give the VoiceModel a name"
        return
    namespace = metadata.get("namespace") or DEFAULT_NAMESPACE
    if not isinstance(namespace, str) or not _matches(DNS_LABEL_PATTERN, namespace) or len(namespace) > _LONGEST_LABEL:
        yield (
            f"metadata.namespace is {_shown(namespace)}: it must be at most {_LONGEST_LABEL} characters long, and hold"
            " only lower-case letters, digits and '-'"
        )


def _defaulted(value: Any, schema: Schema) -> Any:
    """With defaults, and without nulls, which mean that a field is not set."""
    if isinstance(value, dict) and "properties" in schema:
        value = {key: below for key, below in value.items() if below is not None}
        for name, below in schema["properties"].items():
            if name not in value and "default" in below:
                value[name] = copy.deepcopy(below["default"])
            if name in value:
                value[name] = _defaulted(value[name], below)
        return value
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        below = schema["additionalProperties"]
        return {key: _defaulted(each, below) for key, each in value.items() if each is not None}
    if isinstance(value, list) and "items" in schema:
        return [_defaulted(each, schema["items"]) for each in value]
    return value


def _mistakes(value: Any, schema: Schema, path: str) -> Mistakes:
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f'{path} is {_shown(value)}: it must be a whole number or a text, such as 2, "1.5" or "500m"'
            return
        yield from _text(str(value), schema, path)
        return
    kind = schema.get("type", "object")
    wanted, right = _TYPES[kind]
    if not right(value):
        yield f"{path} is {_shown(value)}: it must be {wanted}{_told(schema)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} is {_shown(value)}: it must be {_either(schema['enum'])}"
    yield from _CHECKS[kind](value, schema, path)


def _text(value: str, schema: Schema, path: str) -> Mistakes:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        least, most = schema.get("minLength", 0), schema["maxLength"]
        yield f"{path} is {len(value)} characters long: it must be {least} to {most}{_told(schema)}"
    elif "pattern" in schema and not _matches(schema["pattern"], value):
        yield f"{path} is {_shown(value)}: it must match {schema['pattern']}{_told(schema)}"


def _number(value: float, schema: Schema, path: str) -> Mistakes:
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        bounds = [f"at {word} {schema[key]:g}" for key, word in _BOUNDS if key in schema]
        yield f"{path} is {value}: it must be {' and '.join(bounds)}{_told(schema)}"


def _object(value: dict[str, Any], schema: Schema, path: str) -> Mistakes:
    odd = next((key for key in value if not isinstance(key, str)), None)
    if odd is not None:
        yield f"{path} has the key {odd!r}: keys must be text (write it in quotes)"
        return
    if "properties" in schema:
        yield from _fields(value, schema, path)
    elif isinstance(schema.get("additionalProperties"), dict):
        if len(value) > schema.get("maxProperties", len(value)):
            yield f"{path} has {len(value)} entries: it must have {schema['maxProperties']} at most"
        for key, below in value.items():
            yield from _mistakes(below, schema["additionalProperties"], _below(path, key))


def _fields(value: dict[str, Any], schema: Schema, path: str) -> Mistakes:
    known = schema["properties"]
    for name in schema.get("required", []):
        if name not in value:
            yield f"{_below(path, name)} is missing{_told(known[name])}"
    for name, below in value.items():
        if name in known:
            yield from _mistakes(below, known[name], _below(path, name))
        elif path != "metadata":  # its fields are the API server's
            yield _unknown(name, list(known), path)


def _list(value: list[Any], schema: Schema, path: str) -> Mistakes:
    least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not least <= len(value) <= most:
        yield f"{path} has {len(value)} items: it must have {least} to {most}{_told(schema)}"
    seen = set()
    for index, each in enumerate(value):
        wrong = list(_mistakes(each, schema["items"], f"{path}[{index}]"))
        yield from wrong
        identity = None if wrong else _identity(each, schema)
        if identity is not None and identity in seen:
            yield f"{path}[{index}] stands in the list already: {identity}"
        seen.add(identity)


def _identity(item: Any, schema: Schema) -> str | None:
    """What tells an item from the others, where the list's items must differ."""
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map":
        return ", ".join(f"{key} {_shown(item.get(key))}" for key in schema["x-kubernetes-list-map-keys"])
    return _shown(item) if kind == "set" else None


def _broken(value: Any, schema: Schema, path: str, unchecked: list[str]) -> Mistakes:
    """The rules that a value or what is below it breaks."""
    for rule in schema.get("x-kubernetes-validations", []):
        if rules.is_transition(rule["rule"]):
            continue
        where = f"{path}{rule.get('fieldPath', '')}"
        holds = rules.twin(rule["rule"])
        if holds is None:
            unchecked.append(f"{where}: {rule['message']}" if where else rule["message"])
        elif not holds(value):
            yield f"{where}: {rule['message']}" if where else str(rule["message"])
    for below, beneath, place in _children(value, schema, path):
        yield from _broken(below, beneath, place, unchecked)


def _children(value: Any, schema: Schema, path: str) -> Iterator[tuple[Any, Schema, str]]:
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, below in value.items():
            beneath = known.get(name) or (others if isinstance(others, dict) else None)
            if beneath:
                yield below, beneath, _below(path, name)
    elif isinstance(value, list) and "items" in schema:
        for index, below in enumerate(value):
            yield below, schema["items"], f"{path}[{index}]"


_BOUNDS = (("minimum", "least"), ("maximum", "most"))

_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("a text (write it in quotes)", lambda value: isinstance(value, str)),
    "integer": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "object": ("an object with fields", lambda value: isinstance(value, dict)),
    "array": ("a list", lambda value: isinstance(value, list)),
}

_CHECKS: dict[str, Callable[[Any, Schema, str], Mistakes]] = {
    "string": _text,
    "integer": _number,
    "number": _number,
    "boolean": lambda _value, _schema, _path: iter(()),
    "object": _object,
    "array": _list,
}


def _matches(pattern: str, value: str) -> bool:
    """As RE2 reads it, where `$` is the very end."""
    exact = pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern
    return re.search(exact, value) is not None


def _unknown(name: str, known: list[str], path: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f'did you mean "{near[0]}"?' if near else f"there is {', '.join(sorted(known))}"
    return f"{_below(path, name)}: unknown field; {remedy}"


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _told(schema: Schema) -> str:
    """What the CRD says of a field: it is what `kubectl explain` would tell, and often has an example."""
    return f" ({schema['description'].rstrip('.')})" if "description" in schema else ""


def _either(values: list[Any]) -> str:
    shown = [_shown(value) for value in values]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - a line's worth
