"""What a model runs on: CPUs or GPUs."""

from typing import Annotated, Literal

from pydantic import Field

from voxraga_operator.api.common import DnsName, LabelValue, Part, QualifiedName, set_list


class Gpu(Part):
    """The GPU that each server pod asks for; means something with device.type GPU only."""

    resource: QualifiedName = "nvidia.com/gpu"
    """Resource that GPU nodes offer. Nodes tainted with this key are tolerated."""
    count: Annotated[int, Field(ge=1, le=16)] = 1
    """How many of the resource a pod gets."""
    products: Annotated[
        tuple[Annotated[LabelValue, Field(min_length=1)], ...], Field(max_length=32, json_schema_extra=set_list())
    ] = ()
    """Products that will do, such as "NVIDIA-L4"; any where none is listed."""
    product_label: QualifiedName = "nvidia.com/gpu.product"
    """Node label that names the product; NVIDIA's GPU feature discovery sets the default one."""
    runtime_class_name: DnsName | None = None
    """RuntimeClass of the pods, where the cluster's GPU runtime is not the default one."""


class Device(Part):
    """What the model runs on."""

    type: Literal["CPU", "GPU"] = "CPU"
    """CPU keeps away from GPU nodes where there are others. GPU needs nodes that offer device.gpu.resource."""
    gpu: Gpu = Gpu()
    """Which GPUs, with type GPU."""
