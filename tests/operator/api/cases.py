"""What the API server accepts and refuses of a VoiceModel: pure data, to be run against a real API server.

Each rule of the CRD (CEL, enum, pattern, bound) stands here with something it takes and something it refuses.
"""

from dataclasses import dataclass, field
from typing import Any

DEMO: dict[str, Any] = {"source": {"builtin": {"name": "demo"}}}
SHA = "9ab2" * 16


@dataclass(frozen=True, kw_only=True)
class Case:
    """A VoiceModel with a spec; `before`: applied first, so that the case is an update."""

    id: str
    spec: dict[str, Any]
    refused: str = ""
    """A part of the message that refuses it; empty: it is accepted."""
    before: dict[str, Any] | None = None
    name: str = "case"
    rule: str = ""
    """The CEL rule that the case is about, by a part of its message; where it is refused, that is `refused`."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Something a field takes and something it refuses."""

    id: str
    rule: str
    good: dict[str, Any]
    bad: dict[str, Any]
    before: dict[str, Any] | None = None
    good_name: str = "case"
    bad_name: str = "case"
    base: dict[str, Any] = field(default_factory=lambda: DEMO)

    def cases(self) -> list[Case]:
        before = None if self.before is None else {**self.base, **self.before}
        return [
            Case(
                id=f"{self.id}, accepted",
                spec={**self.base, **self.good},
                before=before,
                name=self.good_name,
                rule=self.rule,
            ),
            Case(
                id=f"{self.id}, refused",
                spec={**self.base, **self.bad},
                before=before,
                name=self.bad_name,
                rule=self.rule,
                refused=self.rule,
            ),
        ]


def _http(**change: str) -> dict[str, Any]:
    file = {"url": "https://voices.example/model.pth", "path": "model.pth", "sha256": SHA} | change
    return {"source": {"http": {"files": [file]}}}


def _claim(path: str) -> dict[str, Any]:
    return {"source": {"persistentVolumeClaim": {"claimName": "voices", "path": path}}}


def _env(**variable: Any) -> dict[str, Any]:
    return {"podTemplate": {"env": [variable]}}


def _store(**store: Any) -> dict[str, Any]:
    return {"store": store}


def _serving(**serving: Any) -> dict[str, Any]:
    return {"serving": serving}


def _access(**access: Any) -> dict[str, Any]:
    return {"access": access}


KEYS = _access(apiKeys={"secretName": "keys"})
UPLOADS = _serving(uploads={"enabled": True, "maxBytes": "4Gi"})
WHISPER: dict[str, Any] = {"task": "SpeechToText", "source": {"huggingFace": {"repo": "openai/whisper-tiny"}}}

_SECRET_KEY = {"name": "hub", "key": "token"}
_REF = {"secretKeyRef": _SECRET_KEY}

CEL: list[Pair] = [
    Pair(id="the longest name", rule="metadata.name", good={}, bad={}, good_name="a" * 40, bad_name="a" * 41),
    Pair(id="a name is a DNS label", rule="metadata.name", good={}, bad={}, good_name="a-1", bad_name="a.b"),
    Pair(id="a name starts with a letter", rule="metadata.name", good={}, bad={}, good_name="a1", bad_name="1a"),
    Pair(
        id="one source, not two",
        rule="set exactly one source",
        good={},
        bad={"source": {"builtin": {"name": "demo"}, "catalog": {"name": "tts_models/en/vctk/vits"}}},
    ),
    Pair(
        id="one source, not none",
        rule="set exactly one source",
        good={"source": {"catalog": {"name": "tts_models/en/vctk/vits"}}},
        bad={"source": {}},
    ),
    Pair(
        id="a file's path goes down only",
        rule="must be a relative path",
        good=_http(path="speakers/anna.v2.pth"),
        bad=_http(path="../anna.pth"),
    ),
    Pair(
        id="a file's path is relative",
        rule="must be a relative path",
        good=_http(path="..anna.pth"),
        bad=_http(path="/etc/passwd"),
    ),
    Pair(
        id="a file's path has no empty part",
        rule="must be a relative path",
        good=_http(path="a/b"),
        bad=_http(path="a//b"),
    ),
    Pair(id="a folder's path", rule="must be a relative path", good=_claim("voices/anna"), bad=_claim("voices/../..")),
    Pair(id="a store has room", rule="must be above 0", good=_store(size="1Mi"), bad=_store(size="0Gi")),
    Pair(
        id="a store grows",
        rule="a volume can only grow",
        before=_store(size="10Gi"),
        good=_store(size="10241Mi"),
        bad=_store(size="10239Mi"),
    ),
    Pair(
        id="a store of the same size in other words",
        rule="a volume can only grow",
        before=_store(size="1Gi"),
        good=_store(size="1024Mi"),
        bad=_store(size="1000Mi"),
    ),
    Pair(
        id="the autoscaler's bounds",
        rule="minReplicas must not be above maxReplicas",
        good={"autoscaling": {"minReplicas": 3, "maxReplicas": 3}},
        bad={"autoscaling": {"minReplicas": 4, "maxReplicas": 3}},
    ),
    Pair(
        id="the delay before scaling down",
        rule="must be between 0s and 1h",
        good={"autoscaling": {"maxReplicas": 3, "scaleDownDelay": "1h"}},
        bad={"autoscaling": {"maxReplicas": 3, "scaleDownDelay": "1h1s"}},
    ),
    Pair(
        id="the time in the queue",
        rule="must be between 100ms and 10m",
        good={"serving": {"queueTimeout": "1.5s"}},
        bad={"serving": {"queueTimeout": "99ms"}},
    ),
    Pair(
        id="the time to drain",
        rule="must be between 1s and 1h",
        good={"serving": {"drainTimeout": "1m30s"}},
        bad={"serving": {"drainTimeout": "0s"}},
    ),
    Pair(
        id="CPU requests within limits",
        rule="requests.cpu must not be above limits.cpu",
        good={"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 1}}},
        bad={"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}},
    ),
    Pair(
        id="memory limits below the usual requests",
        rule="requests.memory must not be above limits.memory",
        good={"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}},
        bad={"resources": {"limits": {"memory": "1Gi"}}},
    ),
    Pair(
        id="the task stays",
        rule="task can't be changed",
        before=_claim("anna"),
        good={**_claim("anna"), "task": "TextToSpeech"},
        bad={**_claim("anna"), "task": "SpeechToText"},
    ),
    Pair(
        id="no voice built in hears",
        rule="catalog and builtin have voices only",
        good=WHISPER,
        bad={"task": "SpeechToText"},
    ),
    Pair(
        id="no model of the catalogue hears",
        rule="catalog and builtin have voices only",
        good={**WHISPER, **_claim("whisper")},
        bad={"task": "SpeechToText", "source": {"catalog": {"name": "tts_models/en/vctk/vits"}}},
    ),
    Pair(
        id="what hears has no Wyoming",
        rule="serving.wyoming and serving.uploads are for models that speak",
        good={**WHISPER, **_serving(wyoming={"enabled": False})},
        bad={**WHISPER, **_serving(wyoming={"enabled": True})},
    ),
    Pair(
        id="what hears takes no uploads",
        rule="serving.wyoming and serving.uploads are for models that speak",
        good={**KEYS, **UPLOADS},
        bad={**WHISPER, **KEYS, **UPLOADS},
    ),
    Pair(
        id="the server's port is taken",
        rule="serving.wyoming.port must differ",
        good=_serving(wyoming={"enabled": True, "port": 8081}),
        bad=_serving(wyoming={"enabled": True, "port": 8080}),
    ),
    Pair(
        id="the Service's port is taken",
        rule="serving.wyoming.port must differ",
        good={**_serving(wyoming={"port": 9000}), "service": {"port": 9000}},
        bad={**_serving(wyoming={"enabled": True, "port": 9000}), "service": {"port": 9000}},
    ),
    Pair(id="uploads need keys", rule="serving.uploads needs access.apiKeys", good={**KEYS, **UPLOADS}, bad=UPLOADS),
    Pair(
        id="words of the lexicon",
        rule="words must be 1 to 64 characters long",
        good=_serving(lexicon={"Kubernetes": "koo-ber-net-eez", "a" * 64: "/a/"}),
        bad=_serving(lexicon={"a" * 65: "/a/"}),
    ),
    Pair(
        id="models to preload were uploaded",
        rule="models.preload names uploaded models",
        good={**KEYS, **_serving(models={"preload": ["anna"]}, uploads={"enabled": True})},
        bad={**KEYS, **_serving(models={"preload": ["anna"]})},
    ),
    Pair(
        id="the server's own model needs room",
        rule="preload must name fewer models than maxLoaded",
        good={**KEYS, **_serving(models={"preload": ["a", "b"]}, uploads={"enabled": True})},
        bad={**KEYS, **_serving(models={"preload": ["a", "b", "c"]}, uploads={"enabled": True})},
    ),
    Pair(
        id="room that is given counts",
        rule="preload must name fewer models than maxLoaded",
        good={**KEYS, **_serving(models={"preload": ["a"], "maxLoaded": 2}, uploads={"enabled": True})},
        bad={**KEYS, **_serving(models={"preload": ["a"], "maxLoaded": 1}, uploads={"enabled": True})},
    ),
    Pair(
        id="a recording's size",
        rule="must be between 1Ki and 1Gi",
        good=_serving(maxAudioBytes=26214400),
        bad=_serving(maxAudioBytes="2Gi"),
    ),
    Pair(
        id="a recording's least size",
        rule="must be between 1Ki and 1Gi",
        good=_serving(maxAudioBytes="1Ki"),
        bad=_serving(maxAudioBytes=1000),
    ),
    Pair(
        id="a cache's size",
        rule="must be between 1Mi and 64Gi",
        good=_serving(responseCache={"maxBytes": "1Mi"}),
        bad=_serving(responseCache={"maxBytes": "1023Ki"}),
    ),
    Pair(
        id="a recording's length",
        rule="must be between 1s and 10h",
        good=_serving(maxAudioDuration="25m"),
        bad=_serving(maxAudioDuration="11h"),
    ),
    Pair(
        id="memory for models",
        rule="must be between 64Mi and 1Ti",
        good=_serving(models={"memory": "6Gi"}),
        bad=_serving(models={"memory": "6"}),
    ),
    Pair(
        id="a model's time to idle",
        rule="must be between 1s and 168h",
        good=_serving(models={"idleTimeout": "10m"}),
        bad=_serving(models={"idleTimeout": "0s"}),
    ),
    Pair(
        id="an upload's size",
        rule="must be between 1Mi and 64Gi",
        good=_serving(uploads={"maxBytes": "64Gi"}),
        bad=_serving(uploads={"maxBytes": "65Gi"}),
    ),
    *(
        Pair(id=told, rule="must be a CIDR", good=_access(**{field: [good]}), bad=_access(**{field: [bad]}))
        for told, field, good, bad in (
            ("an address's bits lie in the prefix", "allowedCIDRs", "10.0.0.0/8", "10.0.0.1/8"),
            ("a proxy's bits lie in the prefix", "trustedProxies", "2001:db8::/32", "2001:db8::1/32"),
            ("an octet has 8 bits", "allowedCIDRs", "255.0.0.0/8", "256.0.0.0/8"),
            ("an IPv4 prefix has 32 bits", "allowedCIDRs", "10.0.0.1/32", "10.0.0.1/33"),
            ("an octet has no leading zero", "allowedCIDRs", "10.1.0.0/16", "10.01.0.0/16"),
            ("IPv4 is not written as IPv6", "allowedCIDRs", "::1/128", "::ffff:10.0.0.0/104"),
        )
    ),
    *(
        Pair(
            id=f"an origin without the port of {scheme}",
            rule="must be an origin as browsers send it",
            good=_access(cors=[f"{scheme}://app.example.com:{other}"]),
            bad=_access(cors=[f"{scheme}://app.example.com:{port}"]),
        )
        for scheme, port, other in (("https", 443, 80), ("http", 80, 443))
    ),
    Pair(
        id="labels of the operator's own",
        rule="labels under app.kubernetes.io/ and voxraga.io/ are the operator's own",
        good={"podTemplate": {"labels": {"team": "voice"}}},
        bad={"podTemplate": {"labels": {"app.kubernetes.io/name": "mine"}}},
    ),
    Pair(
        id="variables of the operator's own",
        rule="variables that start with VOXRAGA_ are the operator's own",
        good=_env(name="MY_VOXRAGA_PORT", value="1"),
        bad=_env(name="VOXRAGA_PORT", value="1"),
    ),
    Pair(
        id="a variable has one value",
        rule="set value or valueFrom, not both",
        good=_env(name="A", valueFrom=_REF),
        bad=_env(name="A", value="1", valueFrom=_REF),
    ),
    Pair(
        id="a variable's value comes from one place",
        rule="set exactly one of secretKeyRef, configMapKeyRef or fieldRef",
        good=_env(name="A", valueFrom={"fieldRef": {"fieldPath": "status.podIP"}}),
        bad=_env(name="A", valueFrom={**_REF, "configMapKeyRef": _SECRET_KEY}),
    ),
]

SCHEMA: list[Pair] = [
    Pair(id="the task", rule="spec.task", good={"task": "TextToSpeech"}, bad={"task": "Translation"}),
    Pair(id="precisions", rule="spec.precision", good={"precision": "bfloat16"}, bad={"precision": "int8"}),
    Pair(
        id="an origin has no path",
        rule="spec.access.cors",
        good=_access(cors=["http://localhost:3000", "https://[2001:db8::1]"]),
        bad=_access(cors=["https://app.example.com/"]),
    ),
    Pair(
        id="an origin is no pattern",
        rule="spec.access.cors",
        good=_access(cors=["https://a.example"]),
        bad=_access(cors=["*"]),
    ),
    Pair(
        id="addresses with a prefix",
        rule="spec.access.allowedCIDRs",
        good=_access(allowedCIDRs=["0.0.0.0/0"]),
        bad=_access(allowedCIDRs=["10.0.0.1"]),
    ),
    Pair(
        id="a prefix is a number",
        rule="spec.access.trustedProxies",
        good=_access(trustedProxies=["10.0.0.0/8"]),
        bad=_access(trustedProxies=["10.0.0.0/255.0.0.0"]),
    ),
    Pair(
        id="a rate",
        rule="spec.access.rateLimit.requestsPerMinute",
        good=_access(rateLimit={"requestsPerMinute": 60}),
        bad=_access(rateLimit={"requestsPerMinute": 0}),
    ),
    Pair(
        id="a Secret's name",
        rule="spec.access.apiKeys.secretName",
        good=KEYS,
        bad=_access(apiKeys={"secretName": "My_Keys"}),
    ),
    Pair(
        id="batches",
        rule="spec.serving.batching.maxBatch",
        good=_serving(batching={"maxBatch": 64}),
        bad=_serving(batching={"maxBatch": 65}),
    ),
    Pair(
        id="unprivileged ports",
        rule="spec.serving.wyoming.port",
        good=_serving(wyoming={"port": 1024}),
        bad=_serving(wyoming={"port": 1023}),
    ),
    Pair(
        id="a recording's size is a quantity",
        rule="spec.serving.maxAudioBytes",
        good=_serving(maxAudioBytes="25Mi"),
        bad=_serving(maxAudioBytes="25 MB"),
    ),
    Pair(
        id="the catalogue's names have four parts",
        rule="spec.source.catalog.name",
        good={"source": {"catalog": {"name": "tts_models/de/thorsten/vits"}}},
        bad={"source": {"catalog": {"name": "vits"}}},
    ),
    Pair(
        id="a repository has an owner",
        rule="spec.source.huggingFace.repo",
        good={"source": {"huggingFace": {"repo": "voices/anna"}}},
        bad={"source": {"huggingFace": {"repo": "anna"}}},
    ),
    Pair(id="no user in a URL", rule="url", good=_http(url="http://files/x@y"), bad=_http(url="http://a:b@files/x")),
    Pair(id="http or https", rule="url", good=_http(url="http://10.0.0.1:8080/x"), bad=_http(url="ftp://files/x")),
    Pair(id="a checksum's digits", rule="sha256", good=_http(sha256="0f" * 32), bad=_http(sha256="0F" * 32)),
    Pair(id="a checksum's length", rule="sha256", good=_http(sha256="1" * 64), bad=_http(sha256="1" * 63)),
    Pair(
        id="the voices built in",
        rule="spec.source.builtin.name",
        good={},
        bad={"source": {"builtin": {"name": "other"}}},
    ),
    Pair(id="a size is a quantity", rule="spec.store.size", good=_store(size="1.5Gi"), bad=_store(size="ten")),
    Pair(
        id="access modes",
        rule="spec.store.accessMode",
        good=_store(accessMode="ReadWriteMany"),
        bad=_store(accessMode="ReadOnlyMany"),
    ),
    Pair(
        id="deletion policies",
        rule="spec.store.deletionPolicy",
        good=_store(deletionPolicy="Delete"),
        bad=_store(deletionPolicy="Keep"),
    ),
    Pair(id="devices", rule="spec.device.type", good={"device": {"type": "GPU"}}, bad={"device": {"type": "TPU"}}),
    Pair(id="replicas", rule="spec.replicas", good={"replicas": 0}, bad={"replicas": -1}),
    Pair(
        id="an autoscaler's least",
        rule="minReplicas",
        good={"autoscaling": {"minReplicas": 1, "maxReplicas": 1}},
        bad={"autoscaling": {"minReplicas": 0, "maxReplicas": 1}},
    ),
    Pair(
        id="speed's bounds",
        rule="spec.serving.defaults.speed",
        good={"serving": {"defaults": {"speed": 0.5}}},
        bad={"serving": {"defaults": {"speed": 9}}},
    ),
    Pair(
        id="formats",
        rule="spec.serving.defaults.format",
        good={"serving": {"defaults": {"format": "opus"}}},
        bad={"serving": {"defaults": {"format": "ogg"}}},
    ),
    Pair(
        id="durations are Go's",
        rule="spec.serving.queueTimeout",
        good={"serving": {"queueTimeout": "30s"}},
        bad={"serving": {"queueTimeout": "PT30S"}},
    ),
    Pair(id="ports", rule="spec.service.port", good={"service": {"port": 8899}}, bad={"service": {"port": 0}}),
    Pair(
        id="services",
        rule="spec.service.type",
        good={"service": {"type": "LoadBalancer"}},
        bad={"service": {"type": "ExternalName"}},
    ),
    Pair(
        id="rollouts",
        rule="spec.rollout.strategy",
        good={"rollout": {"strategy": "Replace"}},
        bad={"rollout": {"strategy": "Recreate"}},
    ),
    Pair(
        id="a resource's quantity",
        rule="spec.resources.limits",
        good={"resources": {"limits": {"cpu": 2, "memory": "4Gi"}}},
        bad={"resources": {"limits": {"memory": "4 GB"}}},
    ),
]

OTHERS: list[Case] = [
    Case(id="the source is needed", spec={}, refused="spec.source"),
    Case(id="a field that does not exist", spec={**DEMO, "replica": 2}, refused="unknown field"),
    Case(
        id="the source may change",
        before=DEMO,
        spec={"source": {"catalog": {"name": "tts_models/en/vctk/vits"}}},
    ),
]

CASES: list[Case] = [case for pair in (*CEL, *SCHEMA) for case in pair.cases()] + OTHERS
