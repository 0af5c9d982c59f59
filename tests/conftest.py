"""Fixtures of every test: a real control plane, and the node cluster where this machine can run one."""

from collections.abc import Iterator

import pytest

from tests.cluster import controlplane as controlplane_tier
from tests.cluster import node as node_tier
from tests.cluster import paths, prerequisites
from tests.cluster.layout import Layout


@pytest.fixture(scope="session")
def controlplane() -> Iterator[controlplane_tier.ControlPlane]:
    """etcd, API server and controller manager on loopback; nothing runs pods."""
    if lacks := prerequisites.missing("controlplane"):
        pytest.skip("control plane: " + "; ".join(lacks))
    with controlplane_tier.start() as plane:
        yield plane


@pytest.fixture(scope="session")
def node() -> Iterator[node_tier.Cluster]:
    """A whole cluster with metrics-server. One that is up already is used and left; else it is removed in the end."""
    if lacks := prerequisites.missing("node"):
        pytest.skip("node: " + "; ".join(lacks))
    was_up = node_tier.running(Layout(paths.state())) is not None
    yield node_tier.up(extras=["metrics-server"])
    if not was_up:
        node_tier.down()
