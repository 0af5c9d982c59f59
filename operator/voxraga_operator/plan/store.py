"""Decides about the claim of the model store: make it, keep it as it is, replace it, or say why not."""

from dataclasses import dataclass

from voxraga_operator import quantity
from voxraga_operator.plan.context import Context
from voxraga_operator.plan.objects.claim import claim
from voxraga_operator.plan.ownership import deletion, owns, terminating
from voxraga_operator.plan.types import Deletion, Manifest, Verdict, no

_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


@dataclass(frozen=True, kw_only=True)
class StorePlan:
    """What becomes of the store."""

    uid: str | None = None
    """uid of the claim that can be used; None as long as there is none."""
    trouble: Verdict | None = None
    """Why it can't be used."""
    stalled: bool = False
    """Whether somebody has to act before it can."""
    apply: Manifest | None = None
    delete: Deletion | None = None
    release: bool = False
    """Whether pods have to let go of the claim, because it is being deleted."""
    degraded: Verdict | None = None
    """What of the spec the claim that is there can't follow."""
    one_node: bool = True
    """Whether all pods that use it must run on one node."""


def store(context: Context) -> StorePlan:
    found = context.observed.claim
    if context.model.spec.store.existing_claim:
        return _existing(context, found)
    if found is None:
        return _missing(context)
    if terminating(found):
        message = f"claim {context.claim_name} is being deleted: pods are stopped to let it go, then all is made anew"
        return StorePlan(trouble=no("ClaimTerminating", message), release=True)
    return _bound(context, found) if _is_bound(found) else _pending(context, found)


def _existing(context: Context, found: Manifest | None) -> StorePlan:
    name = context.claim_name
    if found is None:
        message = f"spec.store.existingClaim names claim {name}, which does not exist: make it, or name another"
        return StorePlan(trouble=no("ClaimNotFound", message), stalled=True)
    if terminating(found):
        message = f"claim {name} of spec.store.existingClaim is being deleted: name another"
        return StorePlan(trouble=no("ClaimTerminating", message), stalled=True)
    return StorePlan(uid=found["metadata"]["uid"], one_node=_one_node(_modes(found)))


def _missing(context: Context) -> StorePlan:
    trouble = _class_trouble(context, context.model.spec.store.storage_class_name)
    if trouble:
        return StorePlan(trouble=trouble, stalled=True)
    waiting = no("CreatingClaim", f"claim {context.claim_name} is being made")
    return StorePlan(trouble=waiting, apply=_wanted(context), one_node=_one_node(_wanted_modes(context)))


def _pending(context: Context, found: Manifest) -> StorePlan:
    """Nothing is in a claim that was never bound, and most of it can't be changed: another takes its place."""
    if _differences(context, found, size=True):
        gone = deletion(found, "its spec was changed before it was bound", exact=True)
        return StorePlan(trouble=no("ReplacingClaim", f"claim {context.claim_name} is being replaced"), delete=gone)
    trouble = _class_trouble(context, context.model.spec.store.storage_class_name or _class(found))
    if trouble:
        return StorePlan(trouble=trouble, stalled=True)
    return _kept(context, found)


def _bound(context: Context, found: Manifest) -> StorePlan:
    return _kept(context, found, degraded=_immutable(context, found))


def _kept(context: Context, found: Manifest, *, degraded: Verdict | None = None) -> StorePlan:
    """Applied as it is in all that can't be changed."""
    applied = claim(
        context.model,
        size=_size(context, found),
        access_modes=_modes(found),
        storage_class=_class(found) if _names_class(context, found) else None,
    )
    return StorePlan(uid=found["metadata"]["uid"], apply=applied, degraded=degraded, one_node=_one_node(_modes(found)))


def _names_class(context: Context, found: Manifest) -> bool:
    """The class that the API server filled in stays its own."""
    return context.model.spec.store.storage_class_name is not None or owns(found, "spec", "storageClassName")


def _wanted(context: Context) -> Manifest:
    wanted = context.model.spec.store
    modes, name = _wanted_modes(context), wanted.storage_class_name
    return claim(context.model, size=wanted.size, access_modes=modes, storage_class=name)


def _class_trouble(context: Context, wanted: str | None) -> Verdict | None:
    classes = context.observed.storage_classes
    there = sorted(each["metadata"]["name"] for each in classes)
    listed = ", ".join(there) or "none"
    if wanted is None:
        if any(_is_default(each) for each in classes):
            return None
        return no(
            "NoDefaultStorageClass",
            f"the cluster has no default StorageClass: set spec.store.storageClassName to one of its own ({listed}),"
            " or spec.store.existingClaim to a claim",
        )
    if wanted in there:
        return None
    return no(
        "StorageClassNotFound",
        f"spec.store.storageClassName is {wanted}, which does not exist; the cluster has: {listed}",
    )


def _is_default(storage_class: Manifest) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)


def _immutable(context: Context, found: Manifest) -> Verdict | None:
    differences = _differences(context, found, size=False)
    if _grows(context, found) and not _expandable(context, found):
        wanted = context.model.spec.store.size
        differences.append(f"size is {wanted}, the claim keeps {_request(found)} (its StorageClass can't expand)")
    if not differences:
        return None
    return no(
        "StoreImmutable",
        f"claim {context.claim_name} can't be changed: in spec.store {'; '.join(differences)}. Undo the change,"
        " or delete the claim to have it made anew (the model is then fetched again, and not served meanwhile)",
    )


def _differences(context: Context, found: Manifest, *, size: bool) -> list[str]:
    wanted = context.model.spec.store
    result = []
    if wanted.storage_class_name not in (None, _class(found)):
        result.append(f"storageClassName is {wanted.storage_class_name}, the claim's {_class(found) or 'none'}")
    if _modes(found) != _wanted_modes(context):
        result.append(f"accessMode is {wanted.access_mode}, the claim's {', '.join(_modes(found))}")
    if size and not quantity.equal(_request(found), wanted.size):
        result.append(f"size is {wanted.size}, the claim's {_request(found)}")
    return result


def _size(context: Context, found: Manifest) -> str:
    grows = _grows(context, found) and _is_bound(found) and _expandable(context, found)
    return context.model.spec.store.size if grows else _request(found)


def _grows(context: Context, found: Manifest) -> bool:
    return (quantity.parse(context.model.spec.store.size) or 0) > (quantity.parse(_request(found)) or 0)


def _expandable(context: Context, found: Manifest) -> bool:
    classes = context.observed.storage_classes
    own = next((each for each in classes if each["metadata"]["name"] == _class(found)), None)
    return own is not None and own.get("allowVolumeExpansion") is True


def _is_bound(found: Manifest) -> bool:
    return bool(found["spec"].get("volumeName")) or (found.get("status") or {}).get("phase") in ("Bound", "Lost")


def _class(found: Manifest) -> str | None:
    name: str | None = found["spec"].get("storageClassName")
    return name


def _modes(found: Manifest) -> list[str]:
    return list(found["spec"].get("accessModes") or [])


def _wanted_modes(context: Context) -> list[str]:
    return [context.model.spec.store.access_mode]


def _request(found: Manifest) -> str:
    return str(found["spec"].get("resources", {}).get("requests", {}).get("storage", "0"))


def _one_node(modes: list[str]) -> bool:
    return "ReadWriteMany" not in modes
