"""The door over HTTP: keys, listings, limits, addresses, CORS and security headers of a real server."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import Running, running
from voxraga_runtime.common import access
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server.app import build_app

SPEAK = {"input": "Hello.", "response_format": "pcm"}
LISTED = ("/models", "/v1/models", "/v1/models/narrator", "/v1/audio/models", "/v1/audio/voices", "/openapi.json")
PROBED = ("/live", "/ready", "/health", "/metrics")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "app").write_text("app-key\n")
    return folder


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Running]:
    origins = ["https://app.example.com"]
    model = tmp_path_factory.mktemp("model")
    with running(ToneEngine(), model, api_keys_path=keys, cors_origins=origins) as started:
        yield started


def speak(server: Running, **headers: str) -> httpx.Response:
    return server.client.post("/v1/audio/speech", json=SPEAK, headers=headers)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "missing_api_key"),
        ({"Authorization": "Bearer app-kez"}, 401, "invalid_api_key"),
        ({"X-API-Key": "app-key"}, 200, None),
        ({"Authorization": "Bearer app-key"}, 200, None),
        ({"Authorization": "Basic app-key"}, 401, "missing_api_key"),
    ],
)
def test_who_is_let_in(locked: Running, headers: dict[str, str], status: int, code: str | None) -> None:
    answer = speak(locked, **headers)
    assert answer.status_code == status
    if code:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.json()["error"]["code"] == code
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["x-request-id"]
        assert "app-k" not in answer.text


def test_openais_client_sees_its_own_errors(locked: Running) -> None:
    with openai.OpenAI(base_url=f"{locked.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
        right = client.with_options(api_key="app-key")
        assert right.audio.speech.create(model="tts-1", voice="alloy", input="Hello.").content


@pytest.mark.parametrize("path", [*LISTED, *PROBED, "/"])
def test_listings_probes_and_the_page_need_no_key(locked: Running, path: str) -> None:
    assert locked.client.get(path).status_code == 200


@pytest.mark.parametrize(
    "request_line", ["POST /synthesize", "POST /v1/models", "GET /nothing", "POST /", "GET /v1/models/a/b"]
)
def test_everything_else_does(locked: Running, request_line: str) -> None:
    assert locked.client.request(*request_line.split(), json={"text": "Hello."}).status_code == 401


def test_refusals_are_counted_by_the_endpoint_they_meant(locked: Running) -> None:
    speak(locked)
    locked.client.get("/made/up")
    text = locked.client.get("/metrics").text
    assert 'voxraga_requests_total{endpoint="/v1/audio/speech",status="401"}' in text
    assert 'voxraga_requests_total{endpoint="other",status="401"}' in text
    assert "made/up" not in text


def test_keys_are_rotated_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "LOOK_AGAIN", 0.0)
    (tmp_path / "key").write_text("old")
    with running(ToneEngine(), tmp_path, api_keys_path=tmp_path) as server:
        assert speak(server, Authorization="Bearer old").status_code == 200
        (tmp_path / "key").write_text("newer")
        assert speak(server, Authorization="Bearer old").status_code == 401
        assert speak(server, Authorization="Bearer newer").status_code == 200


def test_listings_can_be_closed(tmp_path: Path, keys: Path) -> None:
    with running(ToneEngine(), tmp_path, api_keys_path=keys, public_listings=False) as server:
        for path in LISTED:
            assert server.client.get(path).status_code == 401
            assert server.client.get(path, headers={"X-API-Key": "app-key"}).status_code == 200
        assert [server.client.get(path).status_code for path in (*PROBED, "/")] == [200] * 5


def test_a_big_body_without_a_key_still_gets_its_answer(locked: Running) -> None:
    answer = locked.client.post("/synthesize", content=b"x" * (8 << 20))
    assert (answer.status_code, answer.headers["connection"]) == (401, "close")


def test_keys_that_cannot_be_read_end_the_start(tmp_path: Path) -> None:
    class Service:
        settings = load_settings(model_name="narrator", model_path=tmp_path, api_keys_path=tmp_path / "none")
        models = None

    with pytest.raises(StartupError, match=r"VOXRAGA_API_KEYS_PATH is .*none: No such file"):
        build_app(Service())  # type: ignore[arg-type]


def test_a_rate_of_its_own_for_each_key_and_address(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\ntwo\n")
    proxies = [ip_network("127.0.0.0/8")]
    settings: dict[str, Any] = {"rate_limit_per_minute": 6, "rate_limit_burst": 2, "trusted_proxies": proxies}
    with running(ToneEngine(), tmp_path, api_keys_path=tmp_path / "keys", **settings) as server:
        answers = [speak(server, Authorization="Bearer one") for _ in range(3)]
        assert [a.status_code for a in answers] == [200, 200, 429]
        assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == ["1", "0", "0"]
        refused = answers[-1]
        assert refused.headers["x-ratelimit-limit-requests"] == "6"
        assert 9 <= int(refused.headers["retry-after"]) <= 10
        assert 19 < float(refused.headers["x-ratelimit-reset-requests"].rstrip("s")) <= 20
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert speak(server, Authorization="Bearer two").status_code == 200
        # those without a key are told apart by address, and guessing is limited
        guesses = [speak(server, **{"X-API-Key": "x", "X-Forwarded-For": "203.0.113.9"}) for _ in range(3)]
        assert [a.status_code for a in guesses] == [401, 401, 429]
        assert speak(server, **{"X-Forwarded-For": "203.0.113.9, 203.0.113.10"}).status_code == 401
        assert [server.client.get("/v1/models").status_code for _ in range(4)] == [200] * 4
        assert [server.client.get("/ready").status_code for _ in range(4)] == [200] * 4


def test_a_made_up_address_counts_for_nothing(tmp_path: Path) -> None:
    with running(ToneEngine(), tmp_path, rate_limit_per_minute=1, rate_limit_burst=1) as server:
        codes = [speak(server, **{"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(3)]
    assert codes == [200, 429, 429]


def test_addresses_that_may_call(tmp_path: Path) -> None:
    networks = {"allowed_cidrs": [ip_network("198.51.100.0/24")], "trusted_proxies": [ip_network("127.0.0.0/8")]}
    with running(ToneEngine(), tmp_path, **networks) as server:
        assert speak(server, **{"X-Forwarded-For": "198.51.100.7"}).status_code == 200
        refused = speak(server)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "address_not_allowed")
        assert server.client.get("/v1/models").status_code == 403
        assert server.client.get("/metrics").status_code == 200


def test_pages_of_exact_origins_may_call(locked: Running) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-os",
    }
    preflight = locked.client.options("/v1/audio/speech", headers={"Origin": "https://app.example.com", **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "x-stainless-os" in preflight.headers["access-control-allow-headers"]
    refused = speak(locked, Origin="https://app.example.com")  # 401, but the page may read why
    assert refused.headers["access-control-allow-origin"] == "https://app.example.com"
    for other in ("https://evil.example.com", "http://app.example.com", "https://app.example.com.evil.com", "null"):
        answer = locked.client.options("/v1/audio/speech", headers={"Origin": other, **asked})
        assert "access-control-allow-origin" not in answer.headers
        assert "access-control-allow-origin" not in speak(locked, Origin=other).headers


@pytest.mark.parametrize("path", ["/live", "/v1/models", "/nothing", "/v1/audio/speech"])
def test_every_answer_has_the_security_headers(locked: Running, path: str) -> None:
    headers = locked.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "server" not in headers
