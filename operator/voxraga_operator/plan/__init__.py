"""Pure planning: what should stand in the cluster, and what the status should say. No I/O."""

from voxraga_operator.plan.refusal import invalid, refused
from voxraga_operator.plan.types import (
    FIELD_MANAGER,
    HANDOVER_FIELD_MANAGER,
    STATUS_FIELD_MANAGER,
    Deletion,
    Event,
    Observed,
    Plan,
    Reads,
    Refusal,
)
from voxraga_operator.plan.voicemodel import plan, reads

__all__ = [
    "FIELD_MANAGER",
    "HANDOVER_FIELD_MANAGER",
    "STATUS_FIELD_MANAGER",
    "Deletion",
    "Event",
    "Observed",
    "Plan",
    "Reads",
    "Refusal",
    "invalid",
    "plan",
    "reads",
    "refused",
]
