"""Whether the cluster has the GPUs that are asked for, and how to say that it has not."""

from typing import Any

import pytest

from tests.operator.plan.world import World, voicemodel
from voxraga_operator.plan.types import Manifest


def node(name: str, product: str = "", **allocatable: str) -> Manifest:
    labels = {"nvidia.com/gpu.product": product} if product else {}
    offered = {"cpu": "4", **{key.replace("__", "/").replace("_", "."): value for key, value in allocatable.items()}}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": offered}}


L4 = node("a", "NVIDIA-L4", nvidia_com__gpu="1")
FPGA = node("b", intel_com__fpga="2")
PLAIN = node("c")


@pytest.mark.parametrize(
    ("gpu", "nodes", "reason", "told"),
    [
        ({}, [L4, PLAIN], "Available", "offer nvidia.com/gpu"),
        ({}, [PLAIN], "NoAccelerator", "1 node was looked at, they offer no device at all"),
        ({}, [PLAIN, FPGA], "NoAccelerator", "2 nodes were looked at, they offer intel.com/fpga"),
        ({}, [], "NoAccelerator", "0 nodes"),
        ({"products": ["NVIDIA-L4"]}, [L4], "Available", ""),
        ({"products": ["NVIDIA-H100"]}, [L4], "NoMatchingProduct", "there is NVIDIA-L4"),
        ({"count": 2}, [L4], "NotEnoughPerNode", "no node offers more than 1"),
        ({"resource": "intel.com/fpga", "count": 2}, [FPGA], "Available", ""),
    ],
)
def test_gpus(gpu: dict[str, Any], nodes: list[Manifest], reason: str, told: str) -> None:
    world = World(model=voicemodel(device={"type": "GPU", "gpu": gpu}), nodes=nodes)
    world.settle()
    assert world.says("AcceleratorReady") == ("True" if reason == "Available" else "False", reason)
    assert told in world.condition("AcceleratorReady")["message"]
    if reason != "Available":
        assert world.says("Ready") == ("False", reason)
        assert world.model.status["phase"] == "Pending"
        assert world.plan().requeue_after is not None


def test_pods_are_made_without_a_gpu_node_too() -> None:
    """An autoscaler of nodes adds one only for a pod that waits for it."""
    world = World(model=voicemodel(device={"type": "GPU"}), nodes=[PLAIN])
    world.settle()
    world.bind()
    world.fetched()
    world.settle()
    assert world.find("Deployment")


def test_cpu_needs_none() -> None:
    world = World()
    world.settle()
    assert world.says("AcceleratorReady") == ("True", "NotRequired")
