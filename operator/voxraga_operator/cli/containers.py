"""Turns a planned container into a local process: the same variables, the pod's folders mapped to this machine's."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from voxraga_operator.cli.failure import Failure
from voxraga_operator.plan.objects.deployment import API_KEYS
from voxraga_operator.plan.types import Manifest

RUNTIME = (sys.executable, "-m", "voxraga_runtime")
"""The runtime in this very environment; its console script would be the same code behind another process."""

PASSED_ON = frozenset(
    {
        "VOXRAGA_CATALOG_MIRROR",
        "VOXRAGA_FETCH_TIMEOUT",
        "VOXRAGA_FETCH_ATTEMPTS",
        "VOXRAGA_FETCH_BACKOFF",
        "VOXRAGA_LOCK_TIMEOUT",
    }
)
"""The fetch's settings that tell of this machine's network and not of the VoiceModel (docs/store.md)."""

_WITHOUT_KEYS = {
    "VOXRAGA_API_KEYS_PATH": "spec.access.apiKeys: only a cluster has its Secret; give a file or folder by --api-keys",
    "VOXRAGA_UPLOADS_PATH": "spec.serving.uploads: without keys (--api-keys) nobody may bring models",
}
"""Variables that have no value where no keys are given, and what to say of them."""
_WITHOUT_UPLOADS = ("VOXRAGA_UPLOADS_MAX_BYTES", "VOXRAGA_MODELS_PRELOAD")

_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[^)]*)\))")


@dataclass(frozen=True, kw_only=True)
class Folders:
    """This machine's folders in place of a cluster's volumes and objects, by the names that the VoiceModel uses."""

    store: Path
    api_keys: Path | None = None
    """File or folder in place of the Secret of spec.access.apiKeys."""
    claims: Mapping[str, Path] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    config_maps: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Process:
    """What to start."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    """What the container's own variables come to; added to this process's environment (see `inherited`)."""
    grace: int
    """Seconds it may take to end when it is asked to."""
    left_out: tuple[str, ...] = ()
    """Variables that have no value without a cluster, and why."""


def process(workload: Manifest, folders: Folders, own: Mapping[str, str] | None = None) -> Process:
    """The process for a Job's or Deployment's container; `own`: variables that stand for what a pod has of its own,
    such as its address.
    """
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values, left_out = _values(container.get("env") or [], folders)
    mounts = _mounts(pod, container, folders)
    if folders.api_keys is None:
        left_out += [told for name, told in _WITHOUT_KEYS.items() if values.pop(name, None)]
        values = {name: value for name, value in values.items() if name not in _WITHOUT_UPLOADS}
    mapped = {name: _mapped(value, mounts) for name, value in values.items()}
    return Process(
        command=(*RUNTIME, *container["args"]),
        environment=mapped | dict(own or {}),
        grace=int(pod["terminationGracePeriodSeconds"]),
        left_out=tuple(left_out),
    )


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would change the VoiceModel's settings: a pod has none of it either."""
    return {name: value for name, value in environ.items() if not name.startswith("VOXRAGA_") or name in PASSED_ON}


def check_names(workloads: tuple[Manifest, ...], folders: Folders) -> None:
    """Folders that nothing of the VoiceModel uses are mistakes: most likely a name is misspelt."""
    used = {kind: set[str]() for kind in ("claim", "secret", "config-map")}
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            if volume["name"] == "source":
                used["claim"].add(volume["persistentVolumeClaim"]["claimName"])
            if "secret" in volume and volume["name"] != API_KEYS:
                used["secret"].add(volume["secret"]["secretName"])
        for variable in pod["containers"][0].get("env") or []:
            for key, kind in (("secretKeyRef", "secret"), ("configMapKeyRef", "config-map")):
                reference = variable.get("valueFrom", {}).get(key)
                if reference:
                    used[kind].add(reference["name"])
    given = {"claim": folders.claims, "secret": folders.secrets, "config-map": folders.config_maps}
    for kind, named in given.items():
        for name in sorted(set(named) - used[kind]):
            there = ", ".join(sorted(used[kind])) or "none"
            raise Failure(f"--{kind} {name}: the VoiceModel does not use it (it uses: {there})")


def _mounts(pod: dict[str, Any], container: dict[str, Any], folders: Folders) -> dict[PurePosixPath, Path]:
    """Folder in the pod → folder here. /tmp stays this machine's own."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    found = {}
    for mount in container["volumeMounts"]:
        outside = _folder(volumes[mount["name"]], folders)
        if outside is not None:
            found[PurePosixPath(mount["mountPath"])] = outside / mount.get("subPath", "")
    return found


def _folder(volume: dict[str, Any], folders: Folders) -> Path | None:
    if volume["name"] == "store":
        return folders.store
    if volume["name"] == API_KEYS:
        return folders.api_keys
    if "persistentVolumeClaim" in volume:
        name = volume["persistentVolumeClaim"]["claimName"]
        return _given(folders.claims, name, "claim", "spec.source.persistentVolumeClaim.claimName")
    if "secret" in volume:
        return _given(folders.secrets, volume["secret"]["secretName"], "secret", "spec.source: secretRef.name")
    return None


def _given(named: Mapping[str, Path], name: str, kind: str, where: str) -> Path:
    if name not in named:
        raise Failure(f'{where} is "{name}", which only a cluster has: say which folder it is by --{kind} {name}=DIR')
    if not named[name].is_dir():
        raise Failure(f"--{kind} {name}={named[name]}: there is no such folder")
    return named[name]


def _mapped(value: str, mounts: Mapping[PurePosixPath, Path]) -> str:
    """A path at or below a mount becomes one of this machine; whatever else a variable holds stays as it is."""
    if not value.startswith("/") or "\n" in value:
        return value
    path = PurePosixPath(value)
    for inside, outside in mounts.items():
        if path.is_relative_to(inside):
            return str(outside / path.relative_to(inside))
    return value


def _values(variables: list[dict[str, Any]], folders: Folders) -> tuple[dict[str, str], list[str]]:
    values: dict[str, str] = {}
    left_out: list[str] = []
    for variable in variables:
        name, source = variable["name"], variable.get("valueFrom")
        if source is None:
            values[name] = _expanded(variable.get("value", ""), values)
        elif "fieldRef" in source:
            left_out.append(f"variable {name} of spec.podTemplate.env: {source['fieldRef']['fieldPath']} is a pod's")
        else:
            found = _key(source, folders, f"variable {name} of spec.podTemplate.env")
            if found is not None:
                values[name] = found
    return values, left_out


def _expanded(text: str, values: Mapping[str, str]) -> str:
    """As the kubelet does: $(NAME) of an earlier variable is its value, $$ is $, and what is unknown stays."""

    def replacement(found: re.Match[str]) -> str:
        name = found["name"]
        return "$" if name is None else values.get(name, found[0])

    return _REFERENCE.sub(replacement, text)


def _key(source: dict[str, Any], folders: Folders, where: str) -> str | None:
    """A key of a Secret or ConfigMap is a file of its folder, as in a pod that mounts it."""
    secret = source.get("secretKeyRef")
    reference, kind = (secret, "secret") if secret else (source["configMapKeyRef"], "config-map")
    named = folders.secrets if secret else folders.config_maps
    name, key, optional = reference["name"], reference["key"], reference.get("optional", False)
    if optional and name not in named:
        return None
    file: Path = _given(named, name, kind, where) / key
    if PurePosixPath(key).name != key:
        raise Failure(f"{where}: {key!r} can't be a key")
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if optional:
            return None
        raise Failure(f"{where}: there is no file {file}, which would be the key {key}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{where}: {file} can't be read: {error}") from None
