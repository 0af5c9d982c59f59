"""Plans a VoiceModel: from its spec and what stands in the cluster to what should stand there, and what to say of it."""

from datetime import datetime

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan.types import Observed, Plan, Reads
from voxraga_operator.settings import OperatorSettings


def reads(model: VoiceModel) -> Reads:
    """What has to be read from the cluster before `plan` can be called."""
    raise NotImplementedError(model)


def plan(model: VoiceModel, observed: Observed, settings: OperatorSettings, now: datetime) -> Plan:
    """What is to be done; the same for the same input, whatever happened before."""
    raise NotImplementedError(model, observed, settings, now)
