"""Plans a VoiceModel: from its spec and what is there to what should be there, and what to say of it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from voxraga_operator.api.voicemodel import VoiceModel
from voxraga_operator.plan import labels, names, pods
from voxraga_operator.plan.accelerator import accelerator
from voxraga_operator.plan.conditions import Facts
from voxraga_operator.plan.context import Context, complete
from voxraga_operator.plan.events import events
from voxraga_operator.plan.fetch import FetchPlan, fetch, superseded
from voxraga_operator.plan.objects.service import service
from voxraga_operator.plan.ownership import Owner, deletion, owner, terminating
from voxraga_operator.plan.server import Rollout, ServerPlan, api_keys, autoscaling_verdict, least, rollout, server
from voxraga_operator.plan.status import status
from voxraga_operator.plan.store import StorePlan, store
from voxraga_operator.plan.types import LOOK_AGAIN, SOON, Deletion, Manifest, Observed, Plan, Reads, Verdict, no
from voxraga_operator.settings import OperatorSettings


def reads(model: VoiceModel) -> Reads:
    """What has to be read from the cluster before `plan` can be called."""
    source, keys = model.spec.source, model.spec.access.api_keys
    secrets = {source.secret_name, keys.secret_name if keys else None}
    fetch_labels = labels.selector_labels(model, "fetch")
    every_pod = {name: value for name, value in fetch_labels.items() if name != labels.COMPONENT}
    return Reads(
        name=model.metadata.name,
        claim=names.claim_name(model),
        job=names.job_name(model, names.store_key(model.spec)),
        jobs_selector=labels.selector(fetch_labels),
        pods_selector=labels.selector(every_pod),
        secrets=tuple(sorted(name for name in secrets if name)),
        source_claim=source.persistent_volume_claim.claim_name if source.persistent_volume_claim else None,
        nodes=model.spec.device.type == "GPU",
    )


def plan(model: VoiceModel, observed: Observed, settings: OperatorSettings, now: datetime) -> Plan:
    """What is to be done; the same for the same input, whatever happened before."""
    if model.metadata.deletion_timestamp:
        return Plan()
    context = Context(model=model, observed=complete(observed), settings=settings, now=now)
    obstacle = _conflict(context)
    if obstacle:
        return _obstructed(context, obstacle, needs_a_person=True)
    obstacle = _leftover(context)
    if obstacle:
        return _obstructed(context, obstacle, needs_a_person=False)
    return _plan(context)


def _plan(context: Context) -> Plan:
    kept = store(context)
    fetched = _fetched(context, kept)
    served = server(context, stored=fetched.stored, one_node=kept.one_node, release=kept.release)
    facts = _facts(context, kept, fetched, served)
    said = status(facts, fetched.report, kept.uid)
    rolled_out = facts.rollout.finished and facts.rollout.available >= least(context) and fetched.stored
    return Plan(
        handover=served.handover,
        delete=tuple(_deletions(context, kept, fetched, served, rolled_out=rolled_out)),
        apply=tuple(_applicable(context, [kept.apply, fetched.apply, service(context.model), *served.apply])),
        status=said,
        events=events(context.model.status, said),
        requeue_after=_requeue_after(facts, kept, fetched),
    )


def _requeue_after(facts: Facts, kept: StorePlan, fetched: FetchPlan) -> timedelta | None:
    waits = [fetched.requeue_after]
    waits.append(SOON if kept.release or kept.delete else None)
    waits.append(LOOK_AGAIN if kept.trouble and kept.stalled else None)
    waits.append(LOOK_AGAIN if facts.keys or not facts.accelerator.status else None)
    # A pod whose volume can't be mounted does not change: no event leads here.
    waits.append(LOOK_AGAIN if any(pods.held_up(pod) for pod in facts.context.observed.pods) else None)
    return min((wait for wait in waits if wait is not None), default=None)


def _fetched(context: Context, kept: StorePlan) -> FetchPlan:
    if kept.trouble:
        return FetchPlan(verdict=kept.trouble, stalled=kept.stalled)
    return fetch(context, kept)


def _facts(context: Context, kept: StorePlan, fetched: FetchPlan, served: ServerPlan) -> Facts:
    return Facts(
        context=context,
        obstacle=None,
        obstructed=False,
        stored=fetched.verdict,
        stored_stalled=fetched.stalled,
        accelerator=accelerator(context),
        autoscaling=autoscaling_verdict(context),
        rollout=rollout(context, served),
        keys=api_keys(context),
        store_degraded=kept.degraded,
        url=_url(context),
    )


def _deletions(
    context: Context, kept: StorePlan, fetched: FetchPlan, served: ServerPlan, *, rolled_out: bool
) -> Iterator[Deletion]:
    if kept.delete:
        yield kept.delete
    if kept.release and context.job and not terminating(context.job):
        yield deletion(context.job, "its store is being deleted")
    if fetched.delete:
        yield fetched.delete
    yield from served.delete
    yield from superseded(context, rolled_out=rolled_out)


def _applicable(context: Context, wanted: list[Manifest | None]) -> Iterator[Manifest]:
    """Nothing is applied to an object that is going: its end is an event, and then it is made anew."""
    going = {(each["kind"], each["metadata"]["name"]) for each in _children(context) if terminating(each)}
    for each in wanted:
        if each and (each["kind"], each["metadata"]["name"]) not in going:
            yield each


def _children(context: Context) -> Iterator[Manifest]:
    """What bears one of the names that this VoiceModel wants."""
    observed = context.observed
    own_claim = None if context.model.spec.store.existing_claim else observed.claim
    scaler = observed.autoscaler if context.model.spec.autoscaling else None
    named = (own_claim, context.job, observed.service, observed.deployment, observed.disruption_budget, scaler)
    for found in named:
        if found is not None:
            yield found


def _conflict(context: Context) -> Verdict | None:
    for found in _children(context):
        if owner(found, context.model) is Owner.OTHER:
            kind, name = found["kind"], found["metadata"]["name"]
            message = (
                f"{kind} {name} exists and is not this VoiceModel's: nothing is done until it is gone;"
                " delete it, or give the VoiceModel another name"
            )
            return no("NameConflict", message)
    return None


def _leftover(context: Context) -> Verdict | None:
    for found in _children(context):
        if owner(found, context.model) is Owner.EARLIER:
            kind, name = found["kind"], found["metadata"]["name"]
            message = f"{kind} {name} of an earlier VoiceModel of this name is still being cleaned up"
            return no("WaitingForCleanup", message)
    return None


def _obstructed(context: Context, obstacle: Verdict, *, needs_a_person: bool) -> Plan:
    """Nothing is applied at all: a child without the others would be of no use."""
    facts = Facts(
        context=context,
        obstacle=obstacle,
        obstructed=needs_a_person,
        stored=obstacle,
        stored_stalled=needs_a_person,
        accelerator=accelerator(context),
        autoscaling=None if context.model.spec.autoscaling is None else obstacle,
        rollout=_own_rollout(context),
        keys=None,
        store_degraded=None,
        url=None,
    )
    said = status(facts, None, None)
    return Plan(
        status=said,
        events=events(context.model.status, said),
        requeue_after=LOOK_AGAIN if needs_a_person else SOON,
    )


def _own_rollout(context: Context) -> Rollout:
    found = context.observed.deployment
    if found and owner(found, context.model) is not Owner.US:
        return Rollout(wanted=least(context))
    return rollout(context, ServerPlan())


def _url(context: Context) -> str | None:
    """The address in the cluster; of a load balancer its own, which it may not have yet."""
    if context.model.spec.service.type != "LoadBalancer":
        return names.service_url(context.model, context.settings.cluster_domain)
    found: dict[str, Any] = context.observed.service or {}
    given = ((found.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    hosts = [host for each in given if (host := each.get("hostname") or each.get("ip"))]
    return names.http_url(str(hosts[0]), context.model.spec.service.port) if hosts else None
