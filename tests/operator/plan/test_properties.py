"""Whatever is valid can be planned, and is planned the same way twice."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operator.plan.world import World, voicemodel
from voxraga_operator.api.status import VoiceModelStatus

names = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
texts = st.text(max_size=12)
quantities = st.sampled_from(["1", "500m", "0.5", "2Gi", "1.5Gi", "4096Mi", "3G"])
durations = st.sampled_from(["1s", "30s", "1m30s", "2.5s", "1500ms"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(texts, below, max_size=2),
    max_leaves=6,
)


def parts(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields, each there or not."""
    return st.fixed_dictionaries({}, optional=fields)


files = st.builds(
    lambda path: {"url": f"https://files.example/{path}", "path": path, "sha256": "0" * 64},
    names,
)
secret = st.none() | names.map(lambda name: {"name": name})
sources = st.one_of(
    st.just({"builtin": {"name": "demo"}}),
    st.just({"catalog": {"name": "tts_models/en/vctk/vits"}}),
    st.builds(lambda ref: {"huggingFace": {"repo": "a/b", "secretRef": ref}}, secret),
    st.builds(lambda found, ref: {"http": {"files": found, "secretRef": ref}}, st.lists(files, min_size=1), secret),
    st.builds(lambda name: {"persistentVolumeClaim": {"claimName": name}}, names),
)
affinities = st.dictionaries(st.sampled_from(["nodeAffinity", "podAffinity"]), anything, max_size=2)
specs = st.fixed_dictionaries(
    {"source": sources},
    optional={
        "store": parts(
            size=quantities,
            storageClassName=st.sampled_from(["standard", "other"]),
            accessMode=st.sampled_from(["ReadWriteOnce", "ReadWriteMany"]),
            deletionPolicy=st.sampled_from(["Retain", "Delete"]),
        ),
        "device": parts(
            type=st.sampled_from(["CPU", "GPU"]), gpu=parts(products=st.lists(names, max_size=2, unique=True))
        ),
        "replicas": st.integers(0, 5),
        "autoscaling": st.none()
        | st.builds(
            lambda low, more: {"minReplicas": low, "maxReplicas": low + more}, st.integers(1, 3), st.integers(0, 3)
        ),
        "resources": parts(requests=parts(cpu=quantities), limits=parts(memory=quantities)),
        "serving": parts(
            queueTimeout=durations,
            drainTimeout=durations,
            voiceAliases=st.dictionaries(names, names),
            wyoming=parts(enabled=st.booleans()),
            uploads=parts(enabled=st.booleans(), maxBytes=quantities),
            maxAudioBytes=quantities,
            responseCache=parts(maxBytes=quantities),
        ),
        "access": parts(
            apiKeys=st.just({"secretName": "keys"}),
            allowedCIDRs=st.just(["10.0.0.0/8"]),
            rateLimit=st.just({"requestsPerMinute": 1}),
        ),
        "precision": st.sampled_from(["float32", "float16"]),
        "service": parts(type=st.sampled_from(["ClusterIP", "LoadBalancer", "NodePort"])),
        "rollout": parts(strategy=st.sampled_from(["Surge", "Replace"])),
        "podTemplate": parts(affinity=affinities, nodeSelector=st.dictionaries(names, names, max_size=2)),
    },
)


@settings(max_examples=120)
@given(specs, specs, st.booleans())
def test_any_valid_spec_is_planned_and_comes_to_rest(
    first: dict[str, Any], second: dict[str, Any], fails: bool
) -> None:
    world = World(model=voicemodel(**first), source_claim=True)
    _live(world, fails=fails)
    world.change(**second)
    _live(world, fails=False)
    before = world.model.status
    world.pass_time(timedelta(hours=1))
    world.settle()
    assert world.model.status == before, "time alone changes nothing"


def _live(world: World, *, fails: bool) -> None:
    """What usually happens to a VoiceModel; after each step planning is the same twice, and the status is valid."""
    world.settle()
    if world.find("PersistentVolumeClaim", "narrator-store"):
        world.bind()
        _check(world)
    if any(kind == "Job" for kind, _ in world.objects):
        if fails:
            world.fetch_failed("SourceNotFound", "404", retriable=False)
        else:
            world.fetched()
        _check(world)
    if world.find("Deployment"):
        world.roll_out()
        _check(world)


def _check(world: World) -> None:
    world.settle()
    assert world.plan() == world.plan()
    VoiceModelStatus.model_validate(world.model.status)
