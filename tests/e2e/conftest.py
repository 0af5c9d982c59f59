"""One cluster for all end-to-end tests: the operator installed, a restricted namespace, and a voice that speaks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import node as own_node
from tests.cluster import paths, prerequisites
from tests.cluster.layout import Layout
from tests.cluster.providers import OwnNode, find
from tests.e2e import clusters, steps
from tests.e2e.kube import Kube

NAMESPACE = "e2e"


@pytest.fixture(scope="session")
def site() -> Iterator[clusters.Site]:
    """The cluster with the operator in it. One that is up already is used and left; else it is removed in the end."""
    if lacks := [*find().missing(), *prerequisites.missing("images")]:
        pytest.skip("end to end: " + "; ".join(lacks))
    ours = isinstance(find(), OwnNode)
    was_up = not ours or own_node.running(Layout(paths.state())) is not None
    site = clusters.prepare(["metrics-server"] if ours else [])
    steps.install(site.kube, site.images)
    yield site
    if not was_up:
        site.provider.down()


@pytest.fixture(scope="session")
def speaking(site: clusters.Site) -> Iterator[Kube]:
    """The example VoiceModel, ready."""
    site.kube.apply(steps.restricted_namespace(NAMESPACE))
    kube = site.kube.within(NAMESPACE)
    kube("apply", "-f", str(steps.EXAMPLE))
    steps.until_ready(kube, "narrator", print)
    yield kube
    site.kube("delete", "namespace", NAMESPACE, "--wait=true")


@pytest.fixture(scope="session")
def kube(speaking: Kube) -> Kube:
    """The same namespace, for tests that bring VoiceModels of their own."""
    return speaking


@pytest.fixture(scope="session")
def url(speaking: Kube) -> str:
    return f"http://narrator.{speaking.namespace}.svc.cluster.local"


@pytest.fixture(scope="session")
def audit_log(site: clusters.Site) -> Path:
    if not site.audit_log:
        pytest.skip("this cluster's audit log cannot be read: run on our own node (make test-node)")
    return site.audit_log
