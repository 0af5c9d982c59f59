"""Fixtures of every test: a real control plane, and the node cluster where this machine can run one."""

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.cluster import controlplane as controlplane_tier
from tests.cluster import node as node_tier
from tests.cluster import paths, prerequisites
from tests.cluster.layout import Layout

# How long an example takes is the machine's business: what is fast is told by tests/bench.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


# The two tiers that wait more than they compute, the longest first; each has its cluster in one process.
TIERS = {
    "node": ("tests/e2e/", "tests/cluster/test_node.py"),
    "controlplane": ("tests/operator/controlplane/", "tests/cluster/test_controlplane.py"),
}


class SideBySide(LoadScopeScheduling):
    """What one process of `pytest -n` runs: a whole tier, else a module."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((tier for tier, places in TIERS.items() if path.startswith(places)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SideBySide:
    return SideBySide(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tiers = list(TIERS.values())
    items.sort(key=lambda item: [not item.nodeid.startswith(places) for places in tiers])


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
