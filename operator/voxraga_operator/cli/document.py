"""Reads the VoiceModel out of a YAML file as kubectl would: duplicate keys are mistakes, dates are text."""

import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from voxraga_operator.api.common import API_VERSION
from voxraga_operator.api.voicemodel import KIND
from voxraga_operator.cli.failure import Failure

STDIN = "-"

Document = dict[str, Any]


def read(file: str, wanted: str | None = None) -> tuple[Document, list[str]]:
    """The file's VoiceModel (the one called `wanted`, where there are several), and what else the file holds."""
    documents = [each for each in _documents(file) if each is not None]
    wrong = next((each for each in documents if not isinstance(each, dict)), None)
    if wrong is not None:
        raise Failure(f"{file}: a document is a {type(wrong).__name__}, not an object with apiVersion, kind and spec")
    models = [each for each in documents if each.get("kind") == KIND]
    others = [_title(each) for each in documents if each.get("kind") != KIND]
    named = [each for each in models if wanted is None or _name(each) == wanted]
    if len(named) != 1:
        raise Failure(f"{file}: {_not_one(models, others, wanted)}")
    (model,) = named
    if model.get("apiVersion") != API_VERSION:
        raise Failure(f"{file}: apiVersion is {model.get('apiVersion')!r}; this version reads {API_VERSION}")
    return model, others


def _documents(file: str) -> list[Any]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return list(yaml.load_all(text, _Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Failure(f"{file} is no YAML: {' '.join(str(error).split())}") from None


def _not_one(models: list[Document], others: list[str], wanted: str | None) -> str:
    names = ", ".join(sorted(_name(each) for each in models))
    if not models:
        return f"it holds no {KIND}" + (f", but {', '.join(others)}" if others else "")
    if wanted is None:
        return f"it holds several VoiceModels ({names}): say which by --name"
    return f"--name is {wanted}, but the file holds {names}"


def _name(document: Document) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else "without a name"


def _title(document: Document) -> str:
    return f"{document.get('kind', 'an object without a kind')} {_name(document)}"


class _Loader(yaml.SafeLoader):
    """YAML for Kubernetes: what is written twice is refused, and 2026-05-04 is the text that it looks like."""

    # Resolvers stand by the first character of what they may stand for.
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, form) for tag, form in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(name, str):
                if name in seen:
                    raise yaml.constructor.ConstructorError(None, None, f'key "{name}" stands twice', key.start_mark)
                seen.add(name)
        return super().construct_mapping(node, deep)
