"""Fixtures of every test: a real control plane, and the node cluster where this machine can run one."""

from collections.abc import Iterator

import pytest

from tests.cluster import controlplane as controlplane_tier
from tests.cluster import prerequisites


@pytest.fixture(scope="session")
def controlplane() -> Iterator[controlplane_tier.ControlPlane]:
    """etcd, API server and controller manager on loopback; nothing runs pods."""
    if lacks := prerequisites.missing("controlplane"):
        pytest.skip("control plane: " + "; ".join(lacks))
    with controlplane_tier.start() as plane:
        yield plane
