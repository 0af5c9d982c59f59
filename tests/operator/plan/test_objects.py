"""The children's manifests: security, places to run, the contract's environment, and values in canonical form."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.operator.plan.world import World, stored, voicemodel
from voxraga_operator.plan.canonical import canonical_quantity, human_bytes
from voxraga_operator.plan.names import store_key

GPU = {"type": "GPU", "gpu": {"products": ["NVIDIA-L4"], "runtimeClassName": "nvidia", "count": 2}}


def server_spec(**spec: Any) -> dict[str, Any]:
    result: dict[str, Any] = stored(**spec).found("Deployment")["spec"]["template"]["spec"]
    return result


def fetch_spec(secrets: dict[str, bool] | None = None, **spec: Any) -> dict[str, Any]:
    world = World(model=voicemodel(**spec), secrets=secrets or {}, source_claim=True)
    world.settle()
    result: dict[str, Any] = world.job()["spec"]["template"]["spec"]
    return result


def env(pod: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in pod["containers"][0]["env"]}


@pytest.mark.parametrize("pod", [server_spec(), fetch_spec()], ids=["server", "fetch"])
def test_pods_are_restricted(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "a Service called voxraga would set VOXRAGA_PORT"
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_store_is_written_by_the_fetch_and_read_by_the_server() -> None:
    for pod, read_only in ((server_spec(), True), (fetch_spec(), False)):
        mount = next(each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "store")
        assert mount["mountPath"] == "/store"
        assert mount.get("readOnly", False) is read_only


def test_the_servers_settings() -> None:
    world = stored(
        serving={
            "maxConcurrency": 4,
            "queueTimeout": "1m30s",
            "drainTimeout": "500ms",
            "defaults": {"voice": "slt", "language": "en", "speed": 1.25, "format": "wav"},
            "voiceAliases": {"alloy": "slt"},
        },
    )
    key = store_key(world.model.spec)
    pod = world.found("Deployment")["spec"]["template"]["spec"]
    assert env(pod) == {
        "VOXRAGA_MODEL_NAME": "narrator",
        "VOXRAGA_MODEL_PATH": f"/store/models/{key}",
        "VOXRAGA_TASK": "TextToSpeech",
        "VOXRAGA_DEVICE": "cpu",
        "VOXRAGA_PORT": "8080",
        "VOXRAGA_MAX_CONCURRENCY": "4",
        "VOXRAGA_QUEUE_DEPTH": "200",
        "VOXRAGA_QUEUE_TIMEOUT": "90",
        "VOXRAGA_MAX_TEXT_LENGTH": "5000",
        "VOXRAGA_CPU_THREADS": "1",
        "VOXRAGA_DEFAULT_VOICE": "slt",
        "VOXRAGA_DEFAULT_LANGUAGE": "en",
        "VOXRAGA_DEFAULT_SPEED": "1.25",
        "VOXRAGA_DEFAULT_FORMAT": "wav",
        "VOXRAGA_VOICE_ALIASES": '{"alloy": "slt"}',
        "VOXRAGA_LOG_LEVEL": "info",
        "VOXRAGA_DRAIN_TIMEOUT": "0.5",
    }
    assert pod["terminationGracePeriodSeconds"] == 16
    assert pod["containers"][0]["args"] == ["serve"]


ACCESS: dict[str, Any] = {
    "apiKeys": {"secretName": "keys"},
    "publicListings": False,
    "cors": ["https://app.example.com"],
    "allowedCIDRs": ["10.0.0.0/8", "2001:db8::/32"],
    "trustedProxies": ["10.1.0.0/16"],
    "rateLimit": {"requestsPerMinute": 60},
}
MORE: dict[str, Any] = {
    "batching": {"maxBatch": 8},
    "wyoming": {"enabled": True},
    "maxAudioBytes": "25Mi",
    "maxAudioDuration": "1m30s",
    "lexicon": {"Łódź": "/wutɕ/", "kubectl": "cube control"},
    "models": {"maxLoaded": 3, "memory": "1.5Gi", "preload": ["anna", "bo"], "idleTimeout": "10m"},
    "uploads": {"enabled": True, "maxBytes": 1048577},
    "responseCache": {"maxBytes": "256Mi"},
}


def added(**spec: Any) -> dict[str, str]:
    """The variables that a VoiceModel has because of a spec."""
    plain = env(server_spec())
    return {name: value for name, value in env(server_spec(**spec)).items() if plain.get(name) != value}


GUARDED = {  # what ACCESS becomes
    "API_KEYS_PATH": "/secrets/api-keys",
    "PUBLIC_LISTINGS": "false",
    "CORS_ORIGINS": '["https://app.example.com"]',
    "ALLOWED_CIDRS": '["10.0.0.0/8", "2001:db8::/32"]',
    "TRUSTED_PROXIES": '["10.1.0.0/16"]',
    "RATE_LIMIT_PER_MINUTE": "60",
    "RATE_LIMIT_BURST": "20",
}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"precision": "bfloat16"}, {"PRECISION": "bfloat16"}),
        ({"access": ACCESS}, GUARDED),
        (
            {"access": ACCESS, "serving": MORE},
            {
                **GUARDED,
                "MAX_BATCH": "8",
                "WYOMING_PORT": "10300",
                "MAX_AUDIO_BYTES": "26214400",
                "MAX_AUDIO_SECONDS": "90",
                "LEXICON": '{"kubectl": "cube control", "Łódź": "/wutɕ/"}',
                "MODELS_MAX_LOADED": "3",
                "MODELS_MEMORY_BYTES": "1610612736",
                "MODELS_PRELOAD": '["anna", "bo"]',
                "MODELS_IDLE_TIMEOUT": "600",
                "UPLOADS_PATH": "/uploads",
                "UPLOADS_MAX_BYTES": "1048577",
                "RESPONSE_CACHE_BYTES": "268435456",
            },
        ),
    ],
    ids=["precision", "access", "everything"],
)
def test_a_variable_for_what_the_spec_says(spec: dict[str, Any], expected: dict[str, str]) -> None:
    assert added(**spec) == {f"VOXRAGA_{name}": value for name, value in expected.items()}


@pytest.mark.parametrize(
    "spec",
    [
        {"precision": "float32"},
        {"access": {"publicListings": True, "cors": []}},
        {"serving": {"wyoming": {"enabled": False, "port": 10301}}},
        {"serving": {"uploads": {"enabled": False, "maxBytes": "4Gi"}}},
        {"serving": {"models": {"preload": []}, "batching": {}, "lexicon": {}, "responseCache": {}}},
    ],
    ids=str,
)
def test_what_only_says_the_default_sets_no_variable(spec: dict[str, Any]) -> None:
    assert added(**spec) == {}


USED = {
    "serving": {
        "maxConcurrency": 4,
        "queueTimeout": "1m30s",
        "defaults": {"voice": "slt", "language": "en"},
        "voiceAliases": {"alloy": "slt"},
    },
    "podTemplate": {"env": [{"name": "A", "value": "1"}]},
    "device": {"type": "GPU"},
    "store": {"accessMode": "ReadWriteMany"},
}


@pytest.mark.parametrize(
    ("spec", "server", "fetch"),
    [({}, "440810046875a675", "e1b957fc67973ef5"), (USED, "a09990851db1462e", "9c9d33469e3ad09f")],
    ids=["plain", "used"],
)
def test_a_new_operator_rolls_out_no_pod_anew(spec: dict[str, Any], server: str, fetch: str) -> None:
    """The digests are those of 0.1.0 before spec.access was known. Where one must change, all pods restart: say so."""
    world = stored(image={"cpu": "voices/runtime:1", "gpu": "voices/runtime:1"}, **spec)
    for found, digest in ((world.found("Deployment"), server), (world.job(), fetch)):
        assert found["metadata"]["annotations"]["voxraga.io/template"].startswith(digest)
    assert world.found("Service")["spec"]["ports"] == [
        {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}
    ]


def test_keys_are_a_folder_that_the_kubelet_exchanges() -> None:
    pod = server_spec(access=ACCESS)
    assert {"name": "api-keys", "secret": {"secretName": "keys"}} in pod["volumes"]
    (mount,) = (each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "api-keys")
    assert mount == {"name": "api-keys", "mountPath": "/secrets/api-keys", "readOnly": True}, (
        "a subPath stays as it was"
    )
    assert not [each for each in pod["containers"][0]["env"] if "valueFrom" in each]


@pytest.mark.parametrize(("mode", "together"), [("ReadWriteOnce", True), ("ReadWriteMany", False)])
def test_uploads_are_a_folder_of_the_store_that_can_be_written(mode: str, together: bool) -> None:
    pod = server_spec(replicas=2, access=ACCESS, serving=MORE, store={"accessMode": mode})
    mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["/uploads"] == {"name": "store", "mountPath": "/uploads", "subPath": "uploads"}
    assert mounts["/store"]["readOnly"] is True
    assert ("podAffinity" in pod["affinity"]) is together, "a claim for one node keeps all that write to it on one"


def test_wyoming_has_a_port_of_the_pod_and_of_the_service() -> None:
    world = stored(serving={"wyoming": {"enabled": True, "port": 10301}}, service={"port": 81})
    ports = {each["name"]: each["port"] for each in world.found("Service")["spec"]["ports"]}
    assert ports == {"http": 81, "wyoming": 10301}
    assert {each["targetPort"] for each in world.found("Service")["spec"]["ports"]} == {"http", "wyoming"}
    (container,) = world.found("Deployment")["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == {"http": 8080, "wyoming": 10301}


def test_what_hears_is_fetched_and_served_as_such() -> None:
    spec = {"task": "SpeechToText", "source": {"huggingFace": {"repo": "openai/whisper-tiny"}}}
    assert added(**spec)["VOXRAGA_TASK"] == env(fetch_spec(**spec))["VOXRAGA_TASK"] == "SpeechToText"
    assert store_key(voicemodel(**spec).spec) != store_key(voicemodel(source=spec["source"]).spec)


def test_the_fetch_knows_where_from_and_where_to() -> None:
    source = {"http": {"files": [{"url": "https://x/y", "path": "y", "sha256": "0" * 64}], "secretRef": {"name": "s"}}}
    pod = fetch_spec(source=source, license={"accepted": ["CPML"]}, secrets={"s": True})
    given = env(pod)
    assert json.loads(given["VOXRAGA_SOURCE"]) == source
    assert json.loads(given["VOXRAGA_ACCEPTED_LICENSES"]) == ["CPML"]
    assert given["VOXRAGA_KEEP"] == "[]"
    assert given["VOXRAGA_SECRET_PATH"] == "/secrets/source"
    assert len(given["VOXRAGA_STORE_KEY"]) == 16
    assert {"name": "secret", "secret": {"secretName": "s"}} in pod["volumes"]
    assert pod["restartPolicy"] == "Never"


def test_a_source_claim_is_mounted_read_only() -> None:
    pod = fetch_spec(source={"persistentVolumeClaim": {"claimName": "shelf"}})
    claims = [each["persistentVolumeClaim"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
    assert {"claimName": "shelf", "readOnly": True} in claims
    assert env(pod)["VOXRAGA_SOURCE_PATH"] == "/source"


def test_a_fetch_that_cannot_succeed_ends_the_job_and_a_drained_node_does_not() -> None:
    world = World()
    world.settle()
    rules = world.job()["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["FailJob", "Ignore"]
    assert rules[0]["onExitCodes"]["values"] == [2]
    assert rules[1]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_a_store_for_one_node_keeps_its_pods_together() -> None:
    for pod in (server_spec(), fetch_spec()):
        (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["labelSelector"]["matchLabels"] == {"voxraga.io/store": "narrator-store"}
        assert term["topologyKey"] == "kubernetes.io/hostname"
    assert "podAffinity" not in server_spec(store={"accessMode": "ReadWriteMany"})["affinity"]


def test_gpu_pods_go_to_gpu_nodes() -> None:
    pod = server_spec(device=GPU)
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    product = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]}
    assert terms == [{"matchExpressions": [product]}]
    assert env(pod)["VOXRAGA_DEVICE"] == "cuda"


def test_the_fetch_goes_where_the_server_goes_but_takes_no_gpu() -> None:
    template = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "speech", "operator": "Exists"}]}
    server, fetch = server_spec(device=GPU, podTemplate=template), fetch_spec(device=GPU, podTemplate=template)
    for field in ("nodeSelector", "tolerations", "affinity"):
        assert server[field] == fetch[field]
    assert "nvidia.com/gpu" not in fetch["containers"][0]["resources"]["limits"]


def test_cpu_pods_keep_away_from_gpu_nodes_where_they_can() -> None:
    (preferred,) = server_spec()["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (requirement,) = preferred["preference"]["matchExpressions"]
    assert requirement == {"key": "nvidia.com/gpu.present", "operator": "NotIn", "values": ["true"]}


def test_the_users_affinity_is_added_to() -> None:
    required = {"nodeSelectorTerms": [{"matchFields": [{"key": "a"}]}, {"matchExpressions": [{"key": "b"}]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    pod = server_spec(device=GPU, podTemplate={"affinity": affinity})
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [len(term["matchExpressions"]) for term in terms] == [1, 2], "each of the terms needs the product"


def test_the_users_labels_never_replace_ours() -> None:
    world = stored(podTemplate={"labels": {"team": "voice", "app.kubernetes.io/instance": "other"}})
    labels = world.found("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "voice"
    assert labels["app.kubernetes.io/instance"] == "narrator"


@pytest.mark.parametrize(("strategy", "surge", "unavailable"), [("Surge", 1, 0), ("Replace", 0, 1)])
def test_rollout_strategies(strategy: str, surge: int, unavailable: int) -> None:
    rolling = stored(rollout={"strategy": strategy}).found("Deployment")["spec"]["strategy"]
    assert rolling == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    }


def test_a_start_may_take_ten_minutes() -> None:
    container = server_spec()["containers"][0]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 600
    assert [container[kind]["httpGet"]["path"] for kind in ("readinessProbe", "livenessProbe")] == ["/ready", "/live"]


def test_a_budget_lets_a_single_pod_go() -> None:
    assert stored().found("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_autoscaler_measures_the_server_alone() -> None:
    wanted = {"maxReplicas": 5, "targets": {"cpu": 60, "memory": 80}, "scaleDownDelay": "90s"}
    spec = stored(autoscaling=wanted).found("HorizontalPodAutoscaler")["spec"]
    measured = [each["containerResource"] for each in spec["metrics"]]
    assert [(each["container"], each["name"], each["target"]["averageUtilization"]) for each in measured] == [
        ("server", "cpu", 60),
        ("server", "memory", 80),
    ]
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 90


def test_images_are_the_users_or_the_operators() -> None:
    world = World()
    assert server_spec()["containers"][0]["image"] == world.settings.runtime_cpu_image
    assert server_spec(device={"type": "GPU"})["containers"][0]["image"] == world.settings.runtime_gpu_image
    own = server_spec(image={"cpu": "mine:1", "pullPolicy": "Always"})["containers"][0]
    assert (own["image"], own["imagePullPolicy"]) == ("mine:1", "Always")


def test_keys_tell_sources_apart_and_nothing_else() -> None:
    key = store_key(voicemodel().spec)
    assert len(key) == 16
    assert int(key, 16) >= 0
    assert store_key(voicemodel(replicas=3).spec) == key
    hub = {"huggingFace": {"repo": "voices/anna"}}
    spelt_out = {"huggingFace": {"repo": "voices/anna", "revision": "main"}}
    assert store_key(voicemodel(source=hub).spec) == store_key(voicemodel(source=spelt_out).spec) != key


# --- what the API server would change, it would see as a difference for ever ---


def walk(value: Any) -> Iterator[Any]:
    yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(below)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"access": ACCESS, "serving": MORE},
        {"device": GPU},
        {"autoscaling": {"maxReplicas": 2}},
        {"podTemplate": {"env": [{"name": "A", "value": ""}]}},
    ],
)
def test_manifests_hold_nothing_empty(spec: dict[str, Any]) -> None:
    manifests = stored(**spec).plan().apply
    assert len(manifests) >= 5
    assert not [value for manifest in manifests for value in walk(manifest) if value in (None, "", [], {})]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("0", "0"),
        ("2", "2"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("4G", "4G"),
        ("4000M", "4G"),
        ("0.0000000001", "1n"),
        ("1e3", "1e3"),
        ("2Ei", "2Ei"),
        ("two", "two"),
    ],
)
def test_quantities_as_the_api_server_writes_them(given: str, written: str) -> None:
    assert canonical_quantity(given) == written


@pytest.mark.parametrize(("size", "told"), [(5, "5 B"), (9_300_000, "9.3 MB"), (2 * 10**12, "2.0 TB")])
def test_sizes_for_people(size: int, told: str) -> None:
    assert human_bytes(size) == told
