"""What the conditions say: each a chain of questions, of which the first that has an answer decides."""

from collections.abc import Callable
from dataclasses import dataclass

from voxraga_operator.plan.context import Context
from voxraga_operator.plan.fetch import FAILURES
from voxraga_operator.plan.server import Rollout, least
from voxraga_operator.plan.types import Verdict, no, yes


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that was found out."""

    context: Context
    obstacle: Verdict | None
    """Why nothing can be done at all."""
    obstructed: bool
    """Whether the obstacle needs somebody to act."""
    stored: Verdict
    stored_stalled: bool
    accelerator: Verdict
    autoscaling: Verdict | None
    rollout: Rollout
    keys: Verdict | None
    """What is wrong with the Secret that the server pods mount."""
    store_degraded: Verdict | None
    url: str | None


FETCHING = frozenset({"Fetching", "WaitingForFetch"})
"""Reasons for a model not being stored while its fetch is under way."""

WAITING = frozenset(
    {
        "AddressPending",
        "ClaimTerminating",
        "CreatingClaim",
        "NoAccelerator",
        "NoMatchingProduct",
        "NotEnoughPerNode",
        "ReplacingClaim",
        "Unschedulable",
        "WaitingForCleanup",
    }
)
"""Reasons that lie with the cluster, and pass when it has what is asked of it."""

Question = Callable[[Facts], Verdict | None]


def conditions(facts: Facts) -> dict[str, Verdict]:
    """All conditions in the order in which they are shown."""
    ready = _first(_READY, facts)
    stalled = _stalled(facts, ready)
    result = {
        "Ready": ready,
        "ModelStored": facts.stored,
        "AcceleratorReady": facts.accelerator,
        "AutoscalingActive": facts.autoscaling,
        "Reconciling": _reconciling(ready, stalled),
        "Stalled": stalled,
        "Degraded": _first(_DEGRADED, facts),
    }
    return {kind: verdict for kind, verdict in result.items() if verdict is not None}


def phase(facts: Facts, said: dict[str, Verdict]) -> str:
    """The whole in one word."""
    return next(word for question in _PHASES if (word := question(facts, said)))


def _first(chain: tuple[Question, ...], facts: Facts) -> Verdict:
    answers = (question(facts) for question in chain)
    return next(answer for answer in answers if answer is not None)


# --- Ready: the model as specified answers at status.url ---


def _obstacle(facts: Facts) -> Verdict | None:
    return facts.obstacle


def _no_accelerator(facts: Facts) -> Verdict | None:
    """Before the store: without the node that is asked for, neither the fetch nor a server has a place."""
    held_up = not facts.rollout.finished or facts.rollout.available < least(facts.context)
    return facts.accelerator if held_up and not facts.accelerator.status else None


def _not_stored(facts: Facts) -> Verdict | None:
    if facts.stored.status:
        return None
    serving = "; the earlier model is still served" if facts.rollout.available else ""
    return no(facts.stored.reason, f"{facts.stored.message}{serving}")


def _scaled_to_zero(facts: Facts) -> Verdict | None:
    """Not ready, though as specified: nothing answers at the URL, and whoever waits for Ready wants to call it."""
    if least(facts.context):
        return None
    return no("ScaledToZero", "spec.replicas is 0: nothing is served, the store is kept")


def _refused(facts: Facts) -> Verdict | None:
    if not facts.rollout.refused:
        return None
    return no("PodsRefused", f"the cluster refuses the server's pods: {facts.rollout.refused}"[:1000])


def _no_keys(facts: Facts) -> Verdict | None:
    """Pods that run have the Secret's files, whatever became of it since."""
    return None if _rolled_out(facts) else facts.keys


def _broken(facts: Facts) -> Verdict | None:
    """An autoscaler's extra pod that does not start takes nothing from those that were asked for."""
    rollout = facts.rollout
    enough = rollout.finished and rollout.available >= least(facts.context) and facts.autoscaling is not None
    return None if rollout.cause is None or enough else no(rollout.cause.reason, rollout.cause.message)


def _overdue(facts: Facts) -> Verdict | None:
    if not facts.rollout.overdue:
        return None
    return no(
        "ProgressDeadlineExceeded",
        "the server pods have made no progress for 20 minutes: look at their events and logs",
    )


def _rolled_out(facts: Facts) -> bool:
    rollout, wanted = facts.rollout, least(facts.context)
    complete = rollout.finished and rollout.available >= wanted
    if facts.autoscaling is None:
        return complete and rollout.replicas == rollout.available == wanted
    return complete


_PROOF = {"TextToSpeech": "speak a warm-up sentence", "SpeechToText": "listen to a warm-up recording"}


def _rolling_out(facts: Facts) -> Verdict | None:
    rollout, wanted = facts.rollout, least(facts.context)
    if _rolled_out(facts):
        return None
    if not rollout.available:
        proof = _PROOF[facts.context.model.spec.task]
        return no("Starting", f"the server pods are starting: they load the model and {proof}")
    return no("RollingOut", f"{rollout.ready} of {max(wanted, rollout.wanted)} server pods answer, others are starting")


def _no_address(facts: Facts) -> Verdict | None:
    if facts.url is not None:
        return None
    message = "the Service of type LoadBalancer has no address yet: the cluster's load balancer has to give it one"
    return no("AddressPending", message)


def _serving(facts: Facts) -> Verdict:
    return yes("Serving", f"serving at {facts.url}")


_READY: tuple[Question, ...] = (
    _obstacle,
    _no_accelerator,
    _not_stored,
    _scaled_to_zero,
    _refused,
    _no_keys,
    _broken,
    _overdue,
    _rolling_out,
    _no_address,
    _serving,
)


# --- Stalled and Reconciling: whether anything goes on ---


def _stalled(facts: Facts, ready: Verdict) -> Verdict:
    if facts.obstacle:
        return facts.obstacle if not facts.obstructed else yes(facts.obstacle.reason, facts.obstacle.message)
    if facts.stored_stalled and not facts.stored.status:
        return yes(facts.stored.reason, facts.stored.message)
    if facts.keys and facts.keys == ready:
        return yes(ready.reason, ready.message)
    if facts.rollout.overdue and not ready.status and least(facts.context):
        return yes(ready.reason, ready.message)
    return no("Progressing", "nothing needs to be done by hand")


def _reconciling(ready: Verdict, stalled: Verdict) -> Verdict:
    if stalled.status:
        return no("Stalled", "nothing goes on until somebody acts")
    if ready.status or ready.reason == "ScaledToZero":
        return no("Done", "all is as specified")
    return yes(ready.reason, ready.message)


# --- Degraded: it serves, but not as specified ---


def _serves_earlier(facts: Facts) -> Verdict | None:
    """Only where something went wrong: that the earlier model is served while another is fetched is as it should be."""
    wrong = facts.stored_stalled or facts.stored.reason in FAILURES
    if facts.stored.status or not facts.rollout.available or not wrong:
        return None
    return yes("ServingEarlierModel", f"the earlier model is served: {facts.stored.message}")


def _keys_missing(facts: Facts) -> Verdict | None:
    if facts.keys is None or not facts.rollout.available:
        return None
    return yes(facts.keys.reason, facts.keys.message)


def _serves_with_less(facts: Facts) -> Verdict | None:
    rollout = facts.rollout
    if not rollout.available or rollout.cause is None:
        return None
    return yes(rollout.cause.reason, rollout.cause.message)


def _store_degraded(facts: Facts) -> Verdict | None:
    degraded = facts.store_degraded
    return None if degraded is None else yes(degraded.reason, degraded.message)


def _as_specified(_: Facts) -> Verdict:
    return no("AsSpecified", "nothing is served otherwise than specified")


_DEGRADED: tuple[Question, ...] = (
    _serves_earlier,
    _keys_missing,
    _serves_with_less,
    _store_degraded,
    _as_specified,
)


# --- the phase ---


def _ended_phase(_: Facts, said: dict[str, Verdict]) -> str:
    if said["Ready"].status:
        return "Ready"
    if said["Degraded"].status:
        return "Degraded"
    return "Idle" if said["Ready"].reason == "ScaledToZero" else ""


def _troubled_phase(facts: Facts, said: dict[str, Verdict]) -> str:
    if said["Stalled"].status:
        return "Failed"
    if said["Ready"].reason in WAITING:
        return "Pending"
    return "Failed" if facts.rollout.cause or facts.rollout.refused else ""


def _moving_phase(facts: Facts, _: dict[str, Verdict]) -> str:
    if not facts.stored.status and facts.stored.reason not in FETCHING:
        return "Failed"
    if facts.rollout.available:
        return "Updating"
    return "Starting" if facts.stored.status else "Storing"


_PHASES = (_ended_phase, _troubled_phase, _moving_phase)
