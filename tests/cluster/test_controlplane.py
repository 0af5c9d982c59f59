"""The control plane tier starts, works and leaves nothing."""

import pytest

from tests.cluster import controlplane as tier
from tests.cluster import processes


@pytest.mark.controlplane
def test_a_control_plane_works_and_leaves_no_process() -> None:
    with tier.start() as plane:
        plane.kubectl("create", "configmap", "greeting", "--from-literal=text=hello")
        text = plane.kubectl("get", "configmap", "greeting", "-o", "jsonpath={.data.text}")
        assert text == "hello"
        assert "configmaps" in plane.audit_log.read_text()
        assert len(processes.marked(plane.directory)) == 3
    assert processes.marked(plane.directory) == []
    assert not plane.directory.exists()


@pytest.mark.controlplane
def test_the_shared_control_plane_answers(controlplane: tier.ControlPlane) -> None:
    assert "kube-system" in controlplane.kubectl("get", "namespaces", "-o", "name")
