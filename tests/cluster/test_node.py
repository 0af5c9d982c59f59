"""The node tier runs pods as a production cluster would, and leaves nothing behind."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import node as tier
from tests.cluster import processes, teardown
from tests.cluster.system_images import BUSYBOX

NAMESPACE = "voxraga-smoke"
MANIFEST = Path(__file__).with_name("smoke.yaml").read_text()
FORBIDDEN = f"""
apiVersion: v1
kind: Pod
metadata: {{name: root, namespace: {NAMESPACE}}}
spec: {{containers: [{{name: root, image: "{BUSYBOX}"}}]}}
"""


@pytest.fixture
def web(node: tier.Cluster) -> Iterator[tier.Cluster]:
    node.kubectl("apply", "-f", "-", stdin=MANIFEST)
    yield node
    node.kubectl("delete", "namespace", NAMESPACE)


@pytest.mark.node
def test_restricted_pods_serve_behind_a_service_on_a_bound_volume(web: tier.Cluster) -> None:
    in_namespace = ("-n", NAMESPACE)
    web.kubectl(*in_namespace, "rollout", "status", "deployment/web", "--timeout=300s")
    assert web.kubectl(*in_namespace, "get", "pvc", "store", "-o", "jsonpath={.status.phase}") == "Bound"
    # By name: DNS, the Service's rules and the pods' network all take part. (Not with -T: Debian's busybox crashes.)
    inside = (*in_namespace, "exec", "deploy/web", "--")
    assert web.kubectl(*inside, "wget", "-qO-", f"http://web.{NAMESPACE}") == "hello\n"
    with pytest.raises(RuntimeError, match="violates PodSecurity"):
        web.kubectl("apply", "-f", "-", stdin=FORBIDDEN)
    assert f'"namespace":"{NAMESPACE}"' in web.audit_log.read_text()


@pytest.mark.node
def test_a_cluster_is_one_and_leaves_nothing(tmp_path: Path) -> None:
    """A second `up` is the first; after all processes were killed an `up` starts afresh; `down` removes everything."""
    directory = tmp_path / "c"
    try:
        first = tier.up(directory)
        before = first.layout.table.all()
        assert tier.up(directory).layout.table.all() == before
        for pid in teardown.pids(first.layout):
            os.kill(pid, signal.SIGKILL)
        again = tier.up(directory)
        assert all(processes.alive(process) for process in again.layout.table.all())
        assert json.loads(again.kubectl("get", "nodes", "-o", "json"))["items"]
    finally:
        tier.down(directory, purge=True)
    assert teardown.leftovers(first.layout) == []
    assert not first.layout.image_root.exists()
