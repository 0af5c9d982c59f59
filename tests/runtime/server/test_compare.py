"""POST /synthesize/compare, and LiveKit's and Pipecat's way of asking."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from tests.runtime.server.engine import SECONDS_PER_CHARACTER, ToneEngine
from tests.runtime.server.harness import Running, running
from tests.speech.audio import measure, read, read_pcm

TEXT = "Which of them do you like best?"
SECONDS = len(TEXT) * SECONDS_PER_CHARACTER


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(ToneEngine(), tmp_path_factory.mktemp("model")) as started:
        yield started


def test_audio_and_latency_for_each_model_and_errors_for_others(api: Running) -> None:
    body = {"text": TEXT, "models": ["narrator", "other", "tts-1", "narrator"], "format": "wav"}
    answer = api.client.post("/synthesize/compare", json=body)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert list(results) == ["narrator", "other", "tts-1"]
    assert results["other"]["error"]["code"] == "model_not_found"
    for model in ("narrator", "tts-1"):
        audio, rate = read(base64.b64decode(results[model]["audio_base64"]))
        assert len(audio) / rate == pytest.approx(SECONDS, rel=0.01)
        assert (results[model]["format"], results[model]["sample_rate"]) == ("wav", rate)
        assert 0 < results[model]["latency_seconds"] < 10


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": "", "models": ["narrator"]}, "text"),
        ({"text": TEXT, "models": []}, "models"),
        ({"text": TEXT, "models": ["m"] * 17}, "models"),
        ({"text": TEXT, "models": ["narrator"], "format": "ogg"}, "format"),
        ({"text": TEXT, "models": "narrator"}, "models"),
    ],
)
def test_what_is_wrong_for_all_is_one_error(api: Running, body: dict[str, object], param: str) -> None:
    answer = api.client.post("/synthesize/compare", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_nothing_but_later_is_a_status_and_leaving_is_noticed(tmp_path: Path) -> None:
    tones = ToneEngine()
    body = {"text": TEXT, "models": ["narrator"]}
    with running(tones, tmp_path, max_concurrency=1, queue_depth=0) as server:
        tones.gate.clear()
        with httpx.Client(base_url=server.url) as other, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(other.post, "/synthesize/compare", json=body, timeout=3)
            server.wait_health(in_flight=1)
            refused = server.client.post("/synthesize/compare", json=body)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            with pytest.raises(httpx.ReadTimeout):
                waiting.result()
        server.wait_health(in_flight=0)  # the one that left
        assert tones.cancelled == 1


def test_a_livekit_like_client(api: Running) -> None:
    """Events of mp3, read line by line; audio decoded as it comes; the connection was opened ahead of time."""
    with openai.OpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as client:
        api.client.get("/")
        audio, usage = b"", None
        with client.audio.speech.with_streaming_response.create(
            input=TEXT, model="gpt-4o-mini-tts", voice="ash", response_format="mp3", speed=1.0, stream_format="sse",
            instructions="Calm.",
        ) as answer:  # fmt: skip
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line[6:])
                if event["type"] == "speech.audio.delta":
                    audio += base64.b64decode(event["audio"])
                elif event["type"] == "speech.audio.done":
                    usage = event["usage"]
    samples, rate = read(audio)
    assert rate == 24000
    assert len(samples) / rate == pytest.approx(SECONDS, rel=0.05)
    assert measure(samples, rate).clipped == 0
    assert usage is not None
    assert usage["input_tokens"] == len(TEXT)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_a_pipecat_like_client(api: Running) -> None:
    async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none") as client:
        audio = b""
        async with client.audio.speech.with_streaming_response.create(
            input=TEXT, model="gpt-4o-mini-tts", voice="alloy", response_format="pcm"
        ) as answer:
            assert answer.status_code == 200
            async for chunk in answer.iter_bytes(1024):
                audio += chunk
    samples, rate = read_pcm(audio, 24000)
    assert len(samples) / rate == pytest.approx(SECONDS, rel=0.01)


def test_open_webui_lists_without_a_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    with running(ToneEngine(), tmp_path, api_keys_path=tmp_path) as server:
        assert server.client.get("/v1/audio/models").json()["models"] == [{"id": "narrator"}]
        assert {v["id"] for v in server.client.get("/v1/audio/voices").json()["voices"]} == {"low", "high"}
        assert server.client.post("/v1/audio/speech", json={"input": TEXT}).status_code == 401
