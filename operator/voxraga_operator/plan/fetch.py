"""Decides about the fetch Jobs: make, leave, replace or try again; and reads from them whether the model is stored."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voxraga_operator.api.status import condition_of
from voxraga_operator.plan import labels, pods
from voxraga_operator.plan.context import Context, alive, label
from voxraga_operator.plan.objects.fetch_job import fetch_job, kept
from voxraga_operator.plan.ownership import deletion, terminating
from voxraga_operator.plan.store import StorePlan
from voxraga_operator.plan.types import LOOK_AGAIN, SOON, Deletion, Manifest, Verdict, no, yes

RETRIABLE_DELAY = timedelta(seconds=60)
OTHER_DELAY = timedelta(minutes=5)
"""What can't succeed by being tried again is tried again all the same, but rarely: a Secret may have been corrected."""


FAILURES = frozenset(
    {
        "SourceUnreachable",
        "SourceNotFound",
        "SourceForbidden",
        "SourceTimeout",
        "ChecksumMismatch",
        "UnknownCatalogModel",
        "LicenseNotAccepted",
        "UnsafeModel",
        "UnsupportedModel",
        "InvalidModel",
        "StoreFull",
        "StoreNotWritable",
        "SecretInvalid",
        "InternalError",
        "ContainerFailed",
        "OOMKilled",
        "FetchFailed",
    }
)
"""What a fetch can end with: the contract's reasons, and those found out from outside."""


@dataclass(frozen=True, kw_only=True)
class FetchPlan:
    """How far the fetch of the wanted model is, and what is to be done about it."""

    verdict: Verdict
    """What ModelStored says."""
    stalled: bool = False
    report: dict[str, Any] | None = None
    """What the fetch said of the model."""
    apply: Manifest | None = None
    delete: Deletion | None = None
    requeue_after: timedelta | None = None

    @property
    def stored(self) -> bool:
        return self.verdict.status


def fetch(context: Context, store: StorePlan) -> FetchPlan:
    """`store` must be usable."""
    job = context.job
    if job is None:
        return _missing(context, store)
    if terminating(job):
        waiting = no("WaitingForFetch", "an earlier fetch is being stopped")
        return _under_way(context, store.uid, waiting, requeue_after=SOON)
    wanted = _job(context, store, kept(job))
    if _annotation(job, labels.CLAIM_UID) != store.uid:
        return _replace(job, "it filled another claim")
    if _condition(job, "Complete"):
        return _stored(context, job, wanted)
    if not _same(job, wanted):
        return _replace(job, "the spec has changed")
    failed = _condition(job, "Failed")
    return _failed(context, job, failed) if failed else _active(context, job, wanted)


def superseded(context: Context, *, rolled_out: bool) -> list[Deletion]:
    """Jobs of other keys: one that is still at work is stopped at once, since its end would clean up the store;
    one that is over is the proof of a model that is still served, and goes when nothing serves that any more.
    """
    served = frozenset() if rolled_out else context.served_keys
    return [
        deletion(job, "another model is wanted")
        for job in _others(context)
        if not terminating(job) and not (_condition(job, "Complete") and label(job, labels.KEY) in served)
    ]


def _others(context: Context) -> list[Manifest]:
    return [job for job in context.observed.jobs if label(job, labels.KEY) != context.key]


def _missing(context: Context, store: StorePlan) -> FetchPlan:
    """One fetch at a time: each cleans up the store when it ends."""
    trouble = None if _stored_before(context, store.uid) else _prerequisite(context)
    if trouble:
        return FetchPlan(verdict=trouble, stalled=True, requeue_after=LOOK_AGAIN)
    at_work = any(not _condition(job, "Complete") for job in _others(context))
    if at_work or any(alive(pod) for pod in context.fetch_pods):
        waiting = no("WaitingForFetch", "an earlier fetch is being stopped")
        return _under_way(context, store.uid, waiting, requeue_after=SOON)
    keep = sorted(context.served_keys - {context.key})
    return _under_way(context, store.uid, _fetching(context), apply=_job(context, store, keep))


def _fetching(context: Context) -> Verdict:
    message = f"{context.model.spec.source.label} is being fetched into claim {context.claim_name}"
    return no("Fetching", message)


def _under_way(
    context: Context,
    claim_uid: str | None,
    verdict: Verdict,
    *,
    apply: Manifest | None = None,
    requeue_after: timedelta | None = None,
) -> FetchPlan:
    """What is known from before counts for more than that something is under way: so status is quiet while a fetch
    that failed is tried again, and while a Job that was deleted by hand finds that its model is there.
    """
    memory = _stored_before(context, claim_uid) or _failed_before(context)
    return FetchPlan(
        verdict=memory or verdict,
        stalled=_stalled_before(context, memory),
        apply=apply,
        requeue_after=requeue_after,
    )


def _prerequisite(context: Context) -> Verdict | None:
    source = context.model.spec.source
    secret, claim = source.secret_name, source.persistent_volume_claim
    if secret and not context.observed.secrets.get(secret, False):
        message = f"{source.secret_field} names Secret {secret}, which does not exist: make it, or name another"
        return no("SecretNotFound", message)
    if claim and not context.observed.source_claim_exists:
        return no(
            "SourceClaimNotFound",
            f"spec.source.persistentVolumeClaim.claimName names claim {claim.claim_name}, which does not exist:"
            " make it, or name another",
        )
    return None


def _replace(job: Manifest, why: str) -> FetchPlan:
    verdict = no("WaitingForFetch", f"the fetch is started anew: {why}")
    return FetchPlan(verdict=verdict, delete=deletion(job, why), requeue_after=SOON)


def _stored(context: Context, job: Manifest, wanted: Manifest) -> FetchPlan:
    """A Job that is over is left as it is where the spec of its pods has changed since: the model is the same."""
    message = f"{context.model.spec.source.label} is stored in claim {context.claim_name}"
    applied = wanted if _same(job, wanted) else None
    return FetchPlan(verdict=yes("Stored", message), report=_report(context, job), apply=applied)


def _active(context: Context, job: Manifest, wanted: Manifest) -> FetchPlan:
    """The newest pod that something is wrong with tells; a Job replaces pods that fail."""
    own = [pod for pod in context.fetch_pods if _is_of(pod, job)]
    wrong = next(((pod, cause) for pod in reversed(own) if (cause := pods.cause(pod, context.observed.warnings))), None)
    if wrong is None:
        return _under_way(context, _annotation(job, labels.CLAIM_UID), _fetching(context), apply=wanted)
    pod, cause = wrong
    verdict = no(cause.reason, cause.message) if alive(pod) else _failure(cause)
    return FetchPlan(verdict=verdict, stalled=not cause.retriable, apply=wanted)


def _failed(context: Context, job: Manifest, condition: dict[str, Any]) -> FetchPlan:
    own = [pod for pod in context.fetch_pods if _is_of(pod, job)]
    told = str(condition.get("message") or condition.get("reason") or "the Job failed")
    unknown = pods.Cause(reason="FetchFailed", message=pods.short(told))
    cause = next((found for pod in reversed(own) if (found := pods.cause(pod, context.observed.warnings))), unknown)
    delay = RETRIABLE_DELAY if cause.retriable else OTHER_DELAY
    left = _time(condition.get("lastTransitionTime"), context.now) + delay - context.now
    again = left <= timedelta()
    return FetchPlan(
        verdict=_failure(cause),
        stalled=not cause.retriable,
        delete=deletion(job, "to try again") if again else None,
        requeue_after=SOON if again else left,
    )


def _failure(cause: pods.Cause) -> Verdict:
    """The same words from the first pod that fails to the last, so that trying again changes no status."""
    again = "retrying" if cause.retriable else f"tried again every {OTHER_DELAY.seconds // 60} min"
    return no(cause.reason, f"{cause.message} ({again})")


def _stored_before(context: Context, claim_uid: str | None) -> Verdict | None:
    """What was stored stays stored though its Job was deleted: the Job is made again, and finds the model there."""
    previous = condition_of(context.model.status, "ModelStored")
    known = context.model.status.get("store") or {}
    same = known.get("key") == context.key and known.get("claimUID") == claim_uid
    if previous is None or previous.get("status") != "True" or not same:
        return None
    return yes(str(previous["reason"]), str(previous["message"]))


def _failed_before(context: Context) -> Verdict | None:
    """While a fetch that failed is tried again, what it failed of is what people need to know."""
    previous = condition_of(context.model.status, "ModelStored")
    if previous is None or previous.get("reason") not in FAILURES:
        return None
    if previous.get("observedGeneration") != context.model.metadata.generation:
        return None
    return no(str(previous["reason"]), str(previous["message"]))


def _stalled_before(context: Context, memory: Verdict | None) -> bool:
    previous = condition_of(context.model.status, "Stalled") or {}
    return memory is not None and previous.get("status") == "True" and previous.get("reason") == memory.reason


def _job(context: Context, store: StorePlan, keep: list[str]) -> Manifest:
    uid = str(store.uid)
    return fetch_job(context.model, context.settings, claim_uid=uid, keep=keep, one_node=store.one_node)


def _same(job: Manifest, wanted: Manifest) -> bool:
    return _annotation(job, labels.TEMPLATE) == _annotation(wanted, labels.TEMPLATE)


def _report(context: Context, job: Manifest) -> dict[str, Any] | None:
    reports = [ending.report for pod in context.fetch_pods if _is_of(pod, job) for ending in pods.endings(pod)]
    return next((report for report in reversed(reports) if report.get("outcome") == "Published"), None)


def _is_of(pod: Manifest, job: Manifest) -> bool:
    references = pod["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == job["metadata"]["uid"] for reference in references)


def _annotation(found: Manifest, name: str) -> str | None:
    value: str | None = (found["metadata"].get("annotations") or {}).get(name)
    return value


def _condition(job: Manifest, kind: str) -> dict[str, Any] | None:
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == kind and each.get("status") == "True"), None)


def _time(text: Any, otherwise: datetime) -> datetime:
    if not isinstance(text, str) or not re.match(r"\d{4}-\d\d-\d\dT", text):
        return otherwise
    return datetime.fromisoformat(text)
