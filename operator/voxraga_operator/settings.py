"""The operator's settings: one frozen object, read once from `VOXRAGA_OPERATOR_*` in the environment."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

PREFIX = "VOXRAGA_OPERATOR_"

_SERVICE_LINK = re.compile(r"SERVICE_HOST$|SERVICE_PORT(_|$)|PORT_\d+_")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """A variable of the environment holds what it can't; the message names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorSettings:
    """What the person who installs the operator decides; every field is a variable of the same name in capitals."""

    runtime_cpu_image: str = "voxraga/runtime-cpu:0.1.0"
    """Image of fetch Jobs and CPU servers where `spec.image.cpu` names none."""
    runtime_gpu_image: str = "voxraga/runtime-gpu:0.1.0"
    """Image of fetch Jobs and GPU servers where `spec.image.gpu` names none."""
    image_pull_policy: str = "IfNotPresent"
    """When the kubelet pulls, where `spec.image.pullPolicy` says nothing."""
    cluster_domain: str = "cluster.local"
    """DNS suffix of the cluster, for `status.url`."""
    namespace: str = ""
    """Where the operator runs and keeps its Lease; empty: told by the pod's service account."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces that are looked after; none named: all."""
    workers: int = 8
    """VoiceModels that are reconciled side by side."""
    resync_seconds: float = 600.0
    """How often every VoiceModel is looked at with no event (with jitter)."""
    request_timeout_seconds: float = 30.0
    """How long one request to the API server may take."""
    listen: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    """Address of `/healthz` and `/metrics`."""
    port: int = 8080
    """Port of `/healthz` and `/metrics`."""
    log_level: str = "info"
    leader_election: bool = True
    """Off only where one process is certain, as in a test."""

    def __post_init__(self) -> None:
        _one_of("image_pull_policy", self.image_pull_policy, _PULL_POLICIES)
        _one_of("log_level", self.log_level, _LOG_LEVELS)
        for name in ("workers", "resync_seconds", "request_timeout_seconds"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{PREFIX}{name.upper()} must be above 0, not {getattr(self, name)}")
        for name in ("runtime_cpu_image", "runtime_gpu_image", "cluster_domain"):
            if not getattr(self, name):
                raise SettingsError(f"{PREFIX}{name.upper()} must not be empty")


def from_env(environ: Mapping[str, str] | None = None) -> OperatorSettings:
    """Read the settings; an unknown `VOXRAGA_OPERATOR_*` is an error, since it is most likely a misspelt one."""
    source = os.environ if environ is None else environ
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in source.items()
        if name.startswith(PREFIX) and not _is_service_link(name, value)
    }
    types: dict[str, Any] = {field.name: field.type for field in fields(OperatorSettings)}
    unknown = sorted(set(given) - set(types))
    if unknown:
        names = ", ".join(PREFIX + name.upper() for name in unknown)
        raise SettingsError(f"unknown setting {names}; known are {', '.join(PREFIX + name.upper() for name in types)}")
    return OperatorSettings(**{name: _read(name, types[name], value) for name, value in given.items()})


def _is_service_link(name: str, value: str) -> bool:
    """What the kubelet puts into pods beside a Service called voxraga-operator: VOXRAGA_OPERATOR_PORT=tcp://… ."""
    return bool(_SERVICE_LINK.match(name.removeprefix(PREFIX))) or value.startswith(("tcp://", "udp://", "sctp://"))


def _read(name: str, kind: Any, value: str) -> Any:
    try:
        return _READERS[kind](value.strip())
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name.upper()}={value!r} is not a {getattr(kind, '__name__', kind)}") from error


def _boolean(value: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if value.lower() not in known:
        raise ValueError(value)
    return known[value.lower()]


def _names(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


_READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: _boolean,
    tuple[str, ...]: _names,
}


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{PREFIX}{name.upper()}={value!r} must be one of {', '.join(allowed)}")
