"""The process itself: it starts, waits, hands over, stops, and says what is wrong with its settings."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.operator.controlplane.world import ROOT, Process, World, service_account_kubeconfig, voicemodel
from voxraga_operator.cluster import Cluster

pytestmark = pytest.mark.controlplane


@pytest.fixture
def world(
    installed: ControlPlane,
    cluster: Cluster,
    namespace: str,
    storage_class: None,  # noqa: ARG001
) -> World:
    return World(installed, cluster, namespace)


async def holder(world: World) -> str:
    lease = await world.cluster.get("Lease", "voxraga-system", "voxraga-operator")
    return str(lease["spec"].get("holderIdentity")) if lease else ""


async def test_the_second_takes_over_at_once_when_the_first_is_told_to_stop(world: World, tmp_path: Path) -> None:
    kubeconfig = service_account_kubeconfig(world.plane, tmp_path)
    first = Process(kubeconfig, tmp_path / "first.log", "--namespace", world.namespace)
    first.wait_ready()
    second = Process(kubeconfig, tmp_path / "second.log", "--namespace", world.namespace)
    try:
        second.wait_ready()  # ready, though it only waits
        assert first.metric("voxraga_operator_leader") == 1
        assert second.metric("voxraga_operator_leader") == 0
        world.apply(voicemodel())
        await world.ready()
        assert second.metric("voxraga_operator_writes_total") == 0

        assert first.stop() == 0
        assert (first.entries()[-1]["event"], first.entries()[-2]["event"]) == ("stopped", "drained")
        assert "Traceback" not in first.log.read_text()

        async def taken() -> bool:
            return second.metric("voxraga_operator_leader") == 1

        await world.until("the second leads", taken, seconds=10)  # a lease that was not given back is waited for longer
        world.apply(voicemodel(replicas=2))
        await world.ready()
    finally:
        first.stop(signal.SIGKILL)
        assert second.stop() == 0
    assert await holder(world) == ""


async def test_a_killed_operator_is_followed_and_leaves_nothing_half_done(world: World, tmp_path: Path) -> None:
    """Killed amid its writes, again and again: the next one finds what is missing, and nothing is doubled."""
    kubeconfig = service_account_kubeconfig(world.plane, tmp_path)
    world.apply(voicemodel())
    for turn in range(3):
        arguments = ("--namespace", world.namespace, "--no-leader-election")
        process = Process(kubeconfig, tmp_path / f"{turn}.log", *arguments)

        async def wrote(process: Process = process) -> bool:
            return process.metric("voxraga_operator_writes_total") >= 1

        await world.until("it writes", wrote)
        process.stop(signal.SIGKILL)
    last = Process(kubeconfig, tmp_path / "last.log", "--namespace", world.namespace, "--no-leader-election")
    try:
        last.wait_ready()
        await world.ready()
        assert len(await world.cluster.list("Job", world.namespace)) == 1
        assert len(await world.cluster.list("PersistentVolumeClaim", world.namespace)) == 1
    finally:
        assert last.stop() == 0


async def test_only_the_named_namespace_is_looked_after(world: World, tmp_path: Path) -> None:
    kubeconfig = service_account_kubeconfig(world.plane, tmp_path)
    other = f"{world.namespace}-other"
    world.plane.kubectl("create", "namespace", other)
    process = Process(kubeconfig, tmp_path / "log", "--namespace", other, "--no-leader-election")
    try:
        process.wait_ready()
        world.apply(voicemodel())
        await asyncio.sleep(2)
        assert await world.get("PersistentVolumeClaim", "narrator-store") is None
        assert process.metric("voxraga_operator_reconcile_total") == 0
    finally:
        assert process.stop() == 0
        world.plane.kubectl("delete", "namespace", other, "--wait=false")


async def test_it_waits_for_an_api_server_that_is_not_there_and_stops_when_told(tmp_path: Path, world: World) -> None:
    config = world.plane.kubeconfig.read_text().replace(world.plane.url, "https://127.0.0.1:9")
    (tmp_path / "nowhere").write_text(config)
    process = Process(tmp_path / "nowhere", tmp_path / "log")
    try:

        async def answers() -> bool:
            return process.get("/healthz")[0] == 200

        await world.until("it answers", answers)
        assert process.metric("voxraga_operator_leader") == 0
    finally:
        assert process.stop() == 0
    assert "waiting for the API" in {entry["event"] for entry in process.entries()}


async def test_no_token_is_ever_logged(world: World, tmp_path: Path) -> None:
    kubeconfig = service_account_kubeconfig(world.plane, tmp_path)
    process = Process(kubeconfig, tmp_path / "log", "--namespace", world.namespace, log_level="debug")
    try:
        process.wait_ready()
    finally:
        assert process.stop() == 0
    token = kubeconfig.read_text().partition("token: ")[2].split()[0]
    assert token not in process.log.read_text()


def test_a_misspelt_setting_ends_it_with_its_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "voxraga_operator", "run"],
        env={"PYTHONPATH": str(ROOT / "operator"), "VOXRAGA_OPERATOR_WORKER": "3"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "VOXRAGA_OPERATOR_WORKER" in done.stderr
