"""How the number of server pods follows the load."""

from typing import Annotated

from pydantic import ConfigDict, Field

from voxraga_operator.api.common import GoDuration, Part, between, rule, rules

Percentage = Annotated[int, Field(ge=1, le=1000)]


class Targets(Part):
    """What the autoscaler keeps the pods at, on average."""

    cpu: Percentage = 70
    """CPU use in percent of resources.requests.cpu."""
    memory: Percentage | None = None
    """Memory use in percent of resources.requests.memory. A loaded model does not give memory back: rarely of use."""


class Autoscaling(Part):
    """Bounds and targets of the HorizontalPodAutoscaler. While this is set, spec.replicas means nothing."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.minReplicas <= self.maxReplicas",
                "minReplicas must not be above maxReplicas",
                field_path=".minReplicas",
            )
        )
    )

    min_replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Fewest pods, however quiet it is."""
    max_replicas: Annotated[int, Field(ge=1, le=100)]
    """Most pods, however busy it is."""
    targets: Targets = Targets()
    """What the pods are kept at."""
    scale_down_delay: Annotated[GoDuration, Field(json_schema_extra=between("0s", "1h"))] = "300s"
    """For how long the load must have been lower before pods are taken away."""
