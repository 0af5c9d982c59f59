"""The cluster that the demo and the end-to-end tests run on, with our images in it."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import binaries, images, prerequisites
from tests.cluster.providers import OwnNode, Provider, find
from tests.e2e.kube import Kube


@dataclass(frozen=True)
class Site:
    """A running cluster that knows our images."""

    kube: Kube
    images: dict[str, str]  # our tags -> the names that pods of this cluster find them under
    provider: Provider
    kubeconfig: Path | None = None
    metrics: bool = False  # metrics-server answers
    audit_log: Path | None = None  # only our own node lets tests read it


def prepare(extras: Collection[str] = ()) -> Site:
    """Build what is missing, start the cluster if need be, and load the images.

    Compiling fills the cores while images download, so both run side by side.
    """
    provider = find()
    prerequisites.require("images")
    with ThreadPoolExecutor(max_workers=2) as pool:
        if isinstance(provider, OwnNode):
            prerequisites.require("node")
            compiled = pool.submit(binaries.ensure, (*binaries.NODE, *extras))
            tags = images.build()
            compiled.result()
        else:
            tags = images.build()
    if lacks := provider.missing():
        raise SystemExit("This cluster cannot be used from here:\n" + "\n".join(f"  - {lack}" for lack in lacks))
    access = provider.up(extras)
    names = provider.load(tags)
    kube = Kube(tuple(access.kubectl.base))
    metrics = bool(kube("get", "apiservice", "v1beta1.metrics.k8s.io", "--ignore-not-found"))
    return Site(kube, names, provider, access.kubeconfig, metrics, access.audit_log)
