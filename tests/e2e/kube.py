"""kubectl as tests and the demo use it: apply, get as data, wait with a reason when it takes too long."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

PATIENCE = 300.0  # seconds; only for what never comes


class KubectlError(Exception):
    """kubectl's own words."""


@dataclass(frozen=True)
class Kube:
    """One cluster, optionally one namespace of it."""

    base: tuple[str, ...]  # kubectl and the options that name the cluster
    namespace: str | None = None

    def within(self, namespace: str) -> "Kube":
        return replace(self, namespace=namespace)

    def command(self, *words: str) -> list[str]:
        where = ["--namespace", self.namespace] if self.namespace else []
        return [*self.base, *where, *words]

    def __call__(self, *words: str, stdin: str | None = None, timeout: float = 120) -> str:
        done = subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> str:
        return self("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object, or {} where there is none."""
        found = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return dict(json.loads(found)) if found else {}

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        words = ["get", kind, "-o", "json", *(["-l", selector] if selector else [])]
        return list(json.loads(self(*words))["items"])

    def patch(self, kind: str, name: str, change: dict[str, Any], *words: str) -> str:
        return self("patch", kind, name, "--type=merge", "-p", json.dumps(change), *words)

    def until(self, what: str, probe: Callable[[], T], every: float = 0.5) -> T:
        """The first truthy answer of the probe; else an error that says what was waited for and what was last seen."""
        deadline = time.monotonic() + PATIENCE
        while True:
            seen = probe()
            if seen:
                return seen
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE:.0f} s: {what}; last seen: {seen!r}")
            time.sleep(every)


def condition(thing: dict[str, Any], kind: str) -> dict[str, Any]:
    """One condition of an object's status, or {}."""
    found = [c for c in thing.get("status", {}).get("conditions", []) if c["type"] == kind]
    return dict(found[0]) if found else {}
