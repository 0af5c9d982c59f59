"""The clusters that tests can run on, behind one small protocol: our own node, kind, or one that you already have.

A cluster that is already there is used only when it is named on purpose: `--context` or VOXRAGA_TEST_CONTEXT, never
whatever context happens to be current.
"""

import os
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.cluster import binaries, node, paths, prerequisites, registry
from tests.cluster.kubectl import Kubectl
from tests.cluster.progress import step


@dataclass(frozen=True)
class Access:
    """How to reach a cluster, and what it offers."""

    kubectl: Kubectl
    kubeconfig: Path | None = None  # None: the user's own, with a context
    context: str | None = None
    audit_log: Path | None = None  # only our own node has one that tests can read


class Provider(Protocol):
    def missing(self) -> list[str]:
        """What it cannot run without here; empty when it can."""

    def up(self, extras: Collection[str] = ()) -> Access:
        """The running cluster, started if need be."""

    def load(self, images: Collection[str]) -> dict[str, str]:
        """Bring local images into the cluster; the names under which pods find them there."""

    def down(self) -> None:
        """Remove the cluster, if it is ours."""


class OwnNode:
    """The `node` tier: everything built and run here, as root."""

    def missing(self) -> list[str]:
        return prerequisites.missing("node")

    def up(self, extras: Collection[str] = ()) -> Access:
        cluster = node.up(extras=extras)
        return Access(Kubectl(cluster.kubeconfig), cluster.kubeconfig, audit_log=cluster.audit_log)

    def load(self, images: Collection[str]) -> dict[str, str]:
        cluster = node.current()
        for image in images:
            with step(f"load {image}"):
                registry.push(cluster.layout, image)
                registry.pull(cluster.layout, image)
        return {image: image for image in images}

    def down(self) -> None:
        node.down()


class Kind:
    """A kind cluster in docker."""

    NAME = "voxraga"

    def missing(self) -> list[str]:
        lacks = [] if prerequisites.docker() else ["a docker engine that answers `docker version`"]
        return lacks + [f"{tool} on PATH" for tool in ("kind", "kubectl") if not shutil.which(tool)]

    def up(self, extras: Collection[str] = ()) -> Access:
        if extras:
            raise SystemExit(f"kind: {', '.join(extras)} must be installed by you")
        kubeconfig = paths.state() / "kind" / "kubeconfig"
        if self.NAME not in _output("kind", "get", "clusters").split():
            kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            _output("kind", "create", "cluster", "--name", self.NAME, "--kubeconfig", str(kubeconfig), "--wait", "120s")
        _output("kind", "export", "kubeconfig", "--name", self.NAME, "--kubeconfig", str(kubeconfig))
        return Access(Kubectl(kubeconfig, program="kubectl"), kubeconfig)

    def load(self, images: Collection[str]) -> dict[str, str]:
        for image in images:
            with step(f"load {image}"):
                _output("kind", "load", "docker-image", image, "--name", self.NAME)
        return {image: image for image in images}

    def down(self) -> None:
        _output("kind", "delete", "cluster", "--name", self.NAME)
        shutil.rmtree(paths.state() / "kind", ignore_errors=True)


class Existing:
    """A cluster that you have, and a registry that it pulls from and that you may push to."""

    def __init__(self, context: str, registry_prefix: str | None) -> None:
        self._context = context
        self._registry = (registry_prefix or "").rstrip("/")

    def missing(self) -> list[str]:
        return [] if self._program() else ["kubectl on PATH"]

    def up(self, extras: Collection[str] = ()) -> Access:
        if extras:
            raise SystemExit(f"context {self._context}: {', '.join(extras)} must be installed by you")
        kubectl = Kubectl(context=self._context, program=self._program())
        kubectl("version", timeout=20)
        return Access(kubectl, context=self._context)

    def load(self, images: Collection[str]) -> dict[str, str]:
        if not self._registry:
            raise SystemExit("VOXRAGA_TEST_REGISTRY: name a registry (host/path) that the cluster pulls images from")
        return {image: self._push(image) for image in images}

    def down(self) -> None:
        """It is not ours."""

    def _program(self) -> str | None:
        return shutil.which("kubectl") or (str(binaries.path("kubectl")) if not binaries.missing(["kubectl"]) else None)

    def _push(self, image: str) -> str:
        target = pushed_name(image, self._registry)
        with step(f"push {target}"):
            if prerequisites.docker():
                _output("docker", "tag", image, target)
                _output("docker", "push", "--quiet", target)
            else:
                _output("buildah", "push", "--quiet", image, f"docker://{target}")
        return target


def pushed_name(image: str, prefix: str) -> str:
    """`localhost/voxraga/operator:dev` at a registry."""
    return f"{prefix}/{image.partition('/')[2]}"


def find(name: str | None = None, context: str | None = None) -> Provider:
    """The provider asked for: by name, by context, by the environment; else our own node."""
    context = context or os.environ.get("VOXRAGA_TEST_CONTEXT")
    if context:
        return Existing(context, os.environ.get("VOXRAGA_TEST_REGISTRY"))
    name = name or os.environ.get("VOXRAGA_TEST_PROVIDER") or "node"
    if name not in ("node", "kind"):
        raise SystemExit(f"--provider {name}: there are node and kind; for a cluster that you have, --context")
    return Kind() if name == "kind" else OwnNode()


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
