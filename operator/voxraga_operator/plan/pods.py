"""Reads pods: why one does not run, in a word for programs and in a sentence for people."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from voxraga_operator.plan.context import age, label
from voxraga_operator.plan.types import Manifest, Warnings

LONGEST_MESSAGE = 1000
"""An Event takes 1024 characters."""

_PULL_FAILURES = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CONFIG_FAILURES = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_NODE_TROUBLES = frozenset({"FailedAttachVolume", "FailedCreatePodSandBox", "FailedMapVolume", "FailedMount"})
_HICCUPS = 2
"""How often a node may fail and try again untold: a volume that is just being attached fails once or twice."""
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*":\s*(?:ErrImagePull:\s*)?')


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a pod does not run."""

    reason: str
    message: str
    retriable: bool = True
    """Whether trying again can help; no where the program itself said so."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a container ended."""

    exit_code: int
    reason: str
    message: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON object that our programs leave in the termination message; empty where there is none."""
        try:
            found = json.loads(self.message)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def cause(pod: Manifest, warnings: Warnings) -> Cause | None:
    """Why a pod does not run; None where it runs, or is on its way."""
    found = (check(pod) for check in _CHECKS)
    return next((each for each in found if each is not None), None) or _node_trouble(pod, warnings)


def held_up(pod: Manifest) -> bool:
    """Whether a node has the pod and has made no room for its containers yet: what it waits for only Events say."""
    kinds = ("PodScheduled", "PodReadyToStartContainers")
    scheduled, prepared = ((_condition(pod, kind) or {}).get("status") == "True" for kind in kinds)
    begun = any("waiting" not in (status.get("state") or {}) for status in _containers(pod))
    return scheduled and not prepared and not begun


def endings(pod: Manifest) -> Iterator[Ending]:
    """How the pod's containers ended, the present run before the one before it."""
    for status in _containers(pod):
        for state in ("state", "lastState"):
            ended = (status.get(state) or {}).get("terminated")
            if ended:
                yield Ending(
                    exit_code=int(ended.get("exitCode") or 0),
                    reason=str(ended.get("reason") or ""),
                    message=str(ended.get("message") or "").strip(),
                )


def newest_generation(pods: tuple[Manifest, ...]) -> list[Manifest]:
    """The pods of the template that was rolled out last: what is wrong with those before is being replaced."""
    if not pods:
        return []
    newest = label(max(pods, key=age), "pod-template-hash")
    return [pod for pod in pods if label(pod, "pod-template-hash") == newest]


def first_cause(pods: list[Manifest], warnings: Warnings) -> Cause | None:
    """The cause of the first pod by name that has one: the same as long as the pods are the same."""
    found = (cause(pod, warnings) for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])))
    return next((each for each in found if each is not None), None)


def is_ready(pod: Manifest) -> bool:
    return (_condition(pod, "Ready") or {}).get("status") == "True"


def short(text: str) -> str:
    """In one line that an Event has room for."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 1]}…"


def _evicted(pod: Manifest) -> Cause | None:
    status = pod.get("status") or {}
    if status.get("phase") != "Failed" or status.get("reason") not in ("Evicted", "NodeShutdown", "Preempting"):
        return None
    return Cause(reason=status["reason"], message=short(str(status.get("message") or "the node gave the pod up")))


def _unschedulable(pod: Manifest) -> Cause | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is None or scheduled.get("status") != "False":
        return None
    return Cause(reason="Unschedulable", message=short(f"no node takes the pod: {scheduled.get('message', '')}"))


def _waiting(pod: Manifest) -> Cause | None:
    for status in _containers(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in _PULL_FAILURES:
            return _pull_failure(str(status.get("image") or _image(pod, status)), message)
        if reason in _CONFIG_FAILURES:
            return Cause(reason=reason, message=short(f"container {status.get('name')}: {message}"))
    return None


def _pull_failure(image: str, message: str) -> Cause:
    """The kubelet tells of the failure and of its waiting in turns: both are one sentence here, so status is quiet."""
    detail = _BACK_OFF.sub("", message)
    return Cause(reason="ImagePullFailed", message=short(f"image {image} can't be pulled: {detail}"))


def _node_trouble(pod: Manifest, warnings: Warnings) -> Cause | None:
    """What the node says of volumes it can't mount, or of a network it can't make."""
    if not held_up(pod):
        return None
    told = [each for each in warnings.get(str(pod["metadata"].get("uid")), ()) if each.get("reason") in _NODE_TROUBLES]
    lasting = [each for each in told if int(each.get("count") or 1) > _HICCUPS]
    if not lasting:
        return None
    newest = max(lasting, key=lambda each: str(each.get("lastTimestamp") or ""))
    return Cause(reason=newest["reason"], message=short(f"the node can't start the pod: {newest.get('message', '')}"))


def _ended(pod: Manifest) -> Cause | None:
    """A container that failed, and one that was started again after it and has not become ready since."""
    if is_ready(pod):
        return None
    failed = next((ending for ending in endings(pod) if ending.exit_code != 0), None)
    if failed is None:
        return None
    if failed.reason == "OOMKilled":
        return Cause(reason="OOMKilled", message=_out_of_memory(pod))
    return _reported(failed)


def _reported(ending: Ending) -> Cause:
    report = ending.report
    reason = str(report.get("reason") or "")
    if _REASON.fullmatch(reason):
        told = short(str(report.get("message") or "the program gave no message"))
        return Cause(reason=reason, message=told, retriable=report.get("retriable") is not False)
    detail = f": {ending.message}" if ending.message else ""
    return Cause(
        reason="ContainerFailed", message=short(f"the container ended with exit code {ending.exit_code}{detail}")
    )


def _out_of_memory(pod: Manifest) -> str:
    container: dict[str, Any] = next(iter((pod.get("spec") or {}).get("containers") or []), {})
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory", "of its node")
    return f"the container needed more memory than its limit {limit}: raise spec.resources.limits.memory"


_CHECKS: tuple[Callable[[Manifest], Cause | None], ...] = (_evicted, _unschedulable, _waiting, _ended)


def _containers(pod: Manifest) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _condition(pod: Manifest, kind: str) -> dict[str, Any] | None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def _image(pod: Manifest, status: dict[str, Any]) -> str:
    containers = (pod.get("spec") or {}).get("containers") or []
    return next((str(each.get("image")) for each in containers if each.get("name") == status.get("name")), "")
