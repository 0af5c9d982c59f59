"""Whether the cluster has the accelerator that a VoiceModel asks for."""

from voxraga_operator import quantity
from voxraga_operator.plan.context import Context
from voxraga_operator.plan.types import Manifest, Verdict, no, yes


def accelerator(context: Context) -> Verdict:
    """Looks at what nodes say they have, not at what is free of it: that is for the scheduler to say."""
    if context.model.spec.device.type == "CPU":
        return yes("NotRequired", "the model runs on CPU")
    gpu = context.model.spec.device.gpu
    nodes = context.observed.nodes
    offering = [node for node in nodes if _offers(node, gpu.resource) > 0]
    if not offering:
        return no("NoAccelerator", f"no node offers {gpu.resource}: {_told(nodes)}")
    matching = [node for node in offering if not gpu.products or _label(node, gpu.product_label) in gpu.products]
    if not matching:
        there = _listed({_label(node, gpu.product_label) or "(no label)" for node in offering})
        wanted = _listed(set(gpu.products))
        message = (
            f"no node has a product of spec.device.gpu.products ({wanted}): by {gpu.product_label} there is {there}"
        )
        return no("NoMatchingProduct", message)
    most = max(_offers(node, gpu.resource) for node in matching)
    if most < gpu.count:
        message = f"spec.device.gpu.count is {gpu.count}, but no node offers more than {most} of {gpu.resource}"
        return no("NotEnoughPerNode", message)
    return yes("Available", f"nodes of this cluster offer {gpu.resource}")


def _offers(node: Manifest, resource: str) -> int:
    return int(quantity.parse(_allocatable(node).get(resource, "0")) or 0)


def _allocatable(node: Manifest) -> dict[str, str]:
    return (node.get("status") or {}).get("allocatable") or {}


def _label(node: Manifest, name: str) -> str | None:
    value: str | None = (node["metadata"].get("labels") or {}).get(name)
    return value


def _told(nodes: tuple[Manifest, ...]) -> str:
    """How many nodes were looked at, and what they offer beyond CPU, memory and the like."""
    extended = {name for node in nodes for name in _allocatable(node) if "/" in name}
    offered = f"they offer {_listed(extended)}" if extended else "they offer no device at all"
    count = "1 node was" if len(nodes) == 1 else f"{len(nodes)} nodes were"
    return f"{count} looked at, {offered}; add a node with it, or set spec.device.type to CPU"


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
