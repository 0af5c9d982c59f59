"""What the operator sets, the runtime reads: both sides of docs/contract.md, which never import each other."""

import re
from pathlib import Path

import pytest

from tests.operator.plan.test_objects import ACCESS, GPU, MORE, env, fetch_spec, server_spec
from voxraga_runtime.common.settings import PREFIX, ServerSettings, load_settings
from voxraga_runtime.store import settings as fetch_settings

CONTRACT = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
DEFAULTS = {"voice": "p225", "language": "en"}
SERVING = {**MORE, "maxConcurrency": 2, "maxAudioDuration": "90s", "defaults": DEFAULTS, "voiceAliases": {"a": "p225"}}
SERVER = env(server_spec(access=ACCESS, serving=SERVING, device=GPU, precision="float16"))
FETCH = env(
    fetch_spec(
        task="SpeechToText",
        source={"huggingFace": {"repo": "a/b", "secretRef": {"name": "hub"}}},
        secrets={"hub": True},
    )
)


@pytest.mark.parametrize("name", sorted(SERVER.keys() | FETCH.keys()))
def test_each_variable_is_in_the_contract(name: str) -> None:
    shared = re.findall(r"`(VOXRAGA_DEFAULT)_VOICE`, ((?:`_[A-Z]+`(?:, )?)+)", CONTRACT)
    spelt_out = {f"{start}{end}" for start, ends in shared for end in re.findall(r"_[A-Z]+", ends)}
    assert f"`{name}`" in CONTRACT or name in spelt_out


def test_the_server_reads_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVER.items():
        monkeypatch.setenv(name, value)
    read = load_settings()
    assert (read.rate_limit_per_minute, read.rate_limit_burst, read.public_listings) == (60, 20, False)
    assert [str(network) for network in read.allowed_cidrs] == ACCESS["allowedCIDRs"]
    assert [str(network) for network in read.trusted_proxies] == ACCESS["trustedProxies"]
    assert read.cors_origins == ACCESS["cors"]
    assert (read.max_batch, read.wyoming_port) == (8, 10300)
    assert (read.max_audio_bytes, read.max_audio_seconds) == (25 << 20, 90)
    assert read.response_cache_bytes == 256 << 20
    assert (read.device, str(read.api_keys_path)) == ("cuda", "/secrets/api-keys")
    assert SERVER.keys() <= {f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields}


def test_the_fetch_reads_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FETCH.items():
        monkeypatch.setenv(name, value)
    read = fetch_settings.load()
    assert (read.task, str(read.secret_path)) == ("SpeechToText", "/secrets/source")
    assert read.source.hugging_face
    assert read.source.hugging_face.repo == "a/b"
    known = {f"{PREFIX}{name.upper()}" for name in fetch_settings.Settings.model_fields}
    assert FETCH.keys() <= known


@pytest.mark.parametrize("origin", ["https://a.example", "http://localhost:3000", "https://[2001:db8::1]:8443"])
def test_an_origin_of_the_crd_is_one_of_the_servers(origin: str) -> None:
    read = ServerSettings(model_name="a", model_path=Path("/m"), cors_origins=[origin])
    assert read.cors_origins == [origin]
