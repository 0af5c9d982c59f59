"""Fixtures of every test: a real control plane, and the node cluster where this machine can run one."""

from collections.abc import Iterator

import hypothesis
import pytest

from tests.cluster import controlplane as controlplane_tier
from tests.cluster import node as node_tier
from tests.cluster import paths, prerequisites
from tests.cluster.layout import Layout

# How long an example takes is the machine's business: what is fast is told by tests/bench.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What one process of `make test` runs: all of the node's tests, all of the control plane's, else a module.

    The two tiers come first, the longest of them at the head: they wait more than they compute.
    """
    tiers = ("node", "controlplane")

    def tier(item: pytest.Item) -> int:
        return next((number for number, name in enumerate(tiers) if item.get_closest_marker(name)), len(tiers))

    for item in items:
        name = [*tiers, item.location[0]][tier(item)]
        item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=tier)


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
