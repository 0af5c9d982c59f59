"""A namespace of its own for each test, the CRDs, and the API client against the real API server."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from voxraga_operator.cluster import Cluster

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def installed(controlplane: ControlPlane) -> ControlPlane:
    """The control plane with everything that `kubectl apply -k` installs, strictly validated."""
    controlplane.kubectl(
        "apply", "--server-side", "--validate=strict", "-k", str(ROOT / "manifests" / "overlays" / "local")
    )
    # Not --for=condition=Established: kubectl gives up where the CRD has no conditions yet.
    established = 'jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
    controlplane.kubectl("wait", f"--for={established}", "crd/voicemodels.voxraga.io", "--timeout=120s")
    return controlplane


@pytest.fixture
def namespace(installed: ControlPlane) -> Iterator[str]:
    name = f"t-{secrets.token_hex(4)}"
    installed.kubectl("create", "namespace", name)
    # Service accounts come a moment later, and pods' admission wants them.
    yield name
    installed.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def cluster(installed: ControlPlane) -> AsyncIterator[Cluster]:
    client = await Cluster.connect(str(installed.kubeconfig))
    yield client
    await client.close()
    await asyncio.sleep(0)  # aiohttp closes its sockets in the next turn of the loop


@pytest.fixture(scope="session")
def storage_class(installed: ControlPlane) -> None:
    """A default class without a provisioner: claims stay unbound, which all but the scheduler puts up with."""
    manifest = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
