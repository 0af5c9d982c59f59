"""The HTTP surface: formats, bounds, error bodies, listings. Audio is decoded and measured."""

import base64
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.server.engine import SECONDS_PER_CHARACTER, ToneEngine
from tests.runtime.server.harness import Running, running
from tests.speech.audio import measure, read, read_pcm
from voxraga_runtime.common import logs
from voxraga_runtime.server.render import PAUSE_SECONDS

SENTENCES = ("One sentence that is long enough to measure.", "And here is the second one, somewhat longer than that.")
TEXT = " ".join(SENTENCES)
SECONDS = len("".join(SENTENCES)) * SECONDS_PER_CHARACTER + PAUSE_SECONDS
TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    aliases = {"narrator-voice": "high"}
    with running(ToneEngine(), tmp_path_factory.mktemp("model"), voice_aliases=aliases, max_text_length=300) as started:
        yield started


def decoded(name: str, data: bytes, rate: int = 24000) -> tuple[Any, int]:
    return read_pcm(data, rate) if name == "pcm" else read(data)


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/synthesize"])
@pytest.mark.parametrize("name", TYPES)
def test_every_format_holds_the_speech(api: Running, name: str, path: str) -> None:
    body = {"input": TEXT, "response_format": name} if path != "/synthesize" else {"text": TEXT, "format": name}
    answer = api.client.post(path, json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == TYPES[name]
    audio, rate = decoded(name, answer.content)
    measures = measure(audio, rate)
    assert measures.seconds == pytest.approx(SECONDS, rel=0.02)
    assert measures.clipped == 0
    assert -23 < measures.rms_dbfs < -17  # the one level of every voice
    assert int(answer.headers["x-sample-rate"]) == (24000 if name in {"mp3", "pcm", "aac"} else 16000)


@pytest.mark.parametrize(
    ("name", "asked", "chunked"),
    [
        ("mp3", {}, True),
        ("opus", {}, True),
        ("aac", {}, True),
        ("pcm", {}, True),
        ("wav", {}, False),
        ("flac", {}, False),
        ("wav", {"stream": True}, True),
        ("mp3", {"stream": False}, False),
        ("wav", {"stream_format": "audio"}, True),
    ],
)
def test_who_streams(api: Running, name: str, asked: dict[str, Any], chunked: bool) -> None:
    answer = api.client.post("/v1/audio/speech", json={"input": TEXT, "response_format": name, **asked})
    assert ("content-length" not in answer.headers) is chunked


def test_one_sentence_comes_whole_with_exact_headers(api: Running) -> None:
    answer = api.client.post("/v1/audio/speech", json={"input": SENTENCES[0], "response_format": "mp3"})
    assert int(answer.headers["content-length"]) == len(answer.content)
    audio, rate = read(answer.content)
    assert len(audio) / rate == pytest.approx(len(SENTENCES[0]) * SECONDS_PER_CHARACTER, rel=0.002)


def test_streamed_and_whole_hold_the_same_samples(api: Running) -> None:
    whole, streamed = (
        api.client.post("/v1/audio/speech", json={"input": TEXT, "response_format": "wav", "stream": s}).content
        for s in (False, True)
    )
    assert whole[44:] == streamed[44:]
    assert struct.unpack("<4sI", whole[:8]) == (b"RIFF", len(whole) - 8)
    assert struct.unpack("<4sI", whole[36:44]) == (b"data", len(whole) - 44)
    assert struct.unpack("<I", streamed[40:44]) == (0xFFFFFFFF,)


def test_events_carry_the_audio(api: Running) -> None:
    body = {"input": TEXT, "response_format": "mp3", "stream_format": "sse"}
    answer = api.client.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
    assert [e["type"] for e in events[-2:]] == ["speech.audio.delta", "speech.audio.done"]
    assert events[-1]["usage"]["input_tokens"] == len(TEXT)
    audio, rate = read(b"".join(base64.b64decode(e["audio"]) for e in events[:-1]))
    assert len(audio) / rate == pytest.approx(SECONDS, rel=0.02)


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.7, 2.0])
@pytest.mark.parametrize("own", [True, False])
def test_speed_works_whether_the_engine_can_or_not(tmp_path: Path, speed: float, own: bool) -> None:
    with running(ToneEngine(speed=own), tmp_path) as server:
        body = {"input": SENTENCES[0], "speed": speed, "response_format": "wav"}
        audio, rate = read(server.client.post("/v1/audio/speech", json=body).content)
    assert len(audio) / rate == pytest.approx(len(SENTENCES[0]) * SECONDS_PER_CHARACTER / speed, rel=0.02)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_sample_rate_is_what_was_asked(api: Running, rate: int) -> None:
    body = {"input": SENTENCES[0], "response_format": "pcm", "sample_rate": rate}
    audio, _ = read_pcm(api.client.post("/v1/audio/speech", json=body).content, rate)
    assert len(audio) / rate == pytest.approx(len(SENTENCES[0]) * SECONDS_PER_CHARACTER, rel=0.002)


@pytest.mark.parametrize(
    ("voice", "hertz"),
    [
        (None, 110),
        ("low", 110),
        ("HIGH", 440),
        ({"id": "high"}, 440),
        ("narrator-voice", 440),
        ("alloy", 110),
        ("echo", 440),
    ],
)
def test_voices_and_their_other_names(api: Running, voice: Any, hertz: float) -> None:
    body = {"input": SENTENCES[0], "voice": voice, "response_format": "wav"}
    audio, rate = read(api.client.post("/v1/audio/speech", json=body).content)
    spectrum = np.abs(np.fft.rfft(audio))
    assert np.argmax(spectrum) * rate / len(audio) == pytest.approx(hertz, abs=1)


@pytest.mark.parametrize(
    ("body", "status", "param", "told"),
    [
        ({"input": ""}, 400, "input", "nothing to speak"),
        ({"input": " \n"}, 400, "input", "nothing to speak"),
        ({"input": "?! …"}, 400, "input", "nothing to speak"),
        ({"input": "x" * 301}, 400, "input", "301 characters; at most 300"),
        ({"input": None}, 400, "input", "string"),
        ({}, 400, "input", "required"),
        ([], 400, None, "JSON object"),
        ("text", 400, None, "JSON object"),
        ({"input": "a", "speed": 9}, 400, "speed", "speed is '9'; it must be a number from 0.5 to 2.0"),
        ({"input": "a", "speed": 0.49}, 400, "speed", "0.5 to 2.0"),
        ({"input": "a", "speed": -1}, 400, "speed", "0.5 to 2.0"),
        ({"input": "a", "speed": "fast"}, 400, "speed", "number"),
        ({"input": "a", "voice": "nobody"}, 400, "voice", "one of low, high"),
        ({"input": "a", "voice": 5}, 400, "voice", ""),
        ({"input": "a", "language": "xx"}, 400, "language", "one of en, de"),
        ({"input": "a", "response_format": "ogg"}, 400, "response_format", "mp3, opus, aac, flac, wav, pcm"),
        ({"input": "a", "response_format": "opus", "sample_rate": 44100}, 400, "sample_rate", "48000"),
        ({"input": "a", "sample_rate": 0}, 400, "sample_rate", "16000"),
        ({"input": "a", "stream_format": "websocket"}, 400, "stream_format", "audio or sse"),
        ({"input": "a", "model": "gpt-5"}, 404, "model", "'gpt-5' does not exist"),
        ({"input": "a", "seed": -1}, 400, "seed", ""),
    ],
)
def test_bad_requests_say_what_is_wrong(api: Running, body: Any, status: int, param: str | None, told: str) -> None:
    answer = api.client.post("/v1/audio/speech", json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert told in error["message"]


@pytest.mark.parametrize("speed", ["NaN", "Infinity", "1e400"])
def test_numbers_that_are_none(api: Running, speed: str) -> None:
    answer = api.client.post("/v1/audio/speech", content=f'{{"input": "a", "speed": {speed}}}')
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "speed")


@pytest.mark.parametrize(
    ("request_line", "content", "status", "code"),
    [
        ("POST /v1/audio/speech", b'{"input": "a', 400, "invalid_value"),
        ("POST /v1/audio/speech", b"\xff\xfe", 400, None),
        ("POST /v1/audio/speech", b"", 400, "invalid_value"),
        ("POST /synthesize", b"x" * (2 << 20), 413, "request_too_large"),
        ("GET /v1/audio/speech", b"", 405, "method_not_allowed"),
        ("DELETE /ready", b"", 405, "method_not_allowed"),
        ("GET /nothing/here", b"", 404, "not_found"),
        ("GET /v1/models/other", b"", 404, "model_not_found"),
    ],
)
def test_every_error_has_openais_shape(
    api: Running, request_line: str, content: bytes, status: int, code: str | None
) -> None:
    answer = api.client.request(*request_line.split(), content=content)
    assert answer.status_code == status
    assert answer.headers["x-request-id"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert code is None or error["code"] == code


def test_a_body_without_a_length_is_limited_too(api: Running) -> None:
    answer = api.client.post("/synthesize", content=(b"x" * 65536 for _ in range(40)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_small_answers_do_not_wait_for_acknowledgements(api: Running) -> None:
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        assert api.client.post("/v1/audio/speech", json={"input": "?"}).status_code == 400
        seconds.append(time.perf_counter() - began)
    assert min(seconds[5:]) < 0.03  # Nagle's algorithm and delayed acknowledgements made each 44 ms


def test_unknown_fields_and_instructions_are_ignored(api: Running) -> None:
    body = {"input": "Hi there.", "instructions": "Speak like a pirate", "colour": {"red": 1}, "model": "tts-1-hd"}
    assert api.client.post("/v1/audio/speech", json=body).status_code == 200


def test_curls_default_content_type_is_read_as_json(api: Running) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = api.client.post("/synthesize", content=b'{"text": "Hi there."}', headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")


def test_listings_have_the_shapes_that_clients_read(api: Running) -> None:
    get = lambda path: api.client.get(path).json()  # noqa: E731
    assert [m["id"] for m in get("/v1/models")["data"]] == ["narrator"]
    assert get("/v1/models/tts-1")["object"] == "model"
    assert get("/v1/audio/models") == {"models": [{"id": "narrator"}]}
    own = {"language": None, "origin": "model", "license": ""}
    names = ("low", "high", "narrator-voice")
    assert get("/v1/audio/voices")["voices"] == [{**own, "id": name, "name": name} for name in names]
    (described,) = get("/models")["models"]
    assert described["voice_details"] == [{**own, "id": "low"}, {**own, "id": "high"}]
    assert (described["architecture"], described["sample_rate"], described["voices"]) == (
        "tone",
        16000,
        ["low", "high"],
    )
    assert get("/")["model"] == "narrator"
    assert get("/live") == {"status": "ok"}
    health = get("/health")
    assert (health["status"], health["queue_size"], health["in_flight"]) == ("ready", 0, 0)
    assert Path(health["path"]).is_absolute()
    assert "/v1/audio/speech" in get("/openapi.json")["paths"]


@pytest.mark.parametrize(("sent", "kept"), [("abc-1.2:3_x", True), ("x" * 200, False), ("a b", False), ("", False)])
def test_request_ids_come_back_or_are_made(api: Running, sent: str, kept: bool) -> None:
    found = api.client.get("/live", headers={"X-Request-ID": sent}).headers["x-request-id"]
    assert (found == sent) is kept
    assert 1 <= len(found) <= 128


def test_metrics_count_what_happened(server: Running) -> None:
    server.client.post("/v1/audio/speech", json={"input": TEXT})
    server.client.post("/v1/audio/speech", json={"input": ""})
    server.client.get("/made/up/path")
    server.wait_health(in_flight=0)
    text = server.client.get("/metrics").text
    assert 'voxraga_requests_total{endpoint="/v1/audio/speech",status="200"} 1.0' in text
    assert 'voxraga_requests_total{endpoint="/v1/audio/speech",status="400"} 1.0' in text
    assert 'voxraga_requests_total{endpoint="other",status="404"} 1.0' in text
    assert server.metric("voxraga_characters_total") == len(TEXT)
    assert server.metric("voxraga_audio_seconds_total") == pytest.approx(SECONDS, rel=0.02)
    counted = ("queue_wait_seconds", "time_to_first_audio_seconds", "real_time_factor")
    assert all(server.metric(f"voxraga_{name}_count") == 1 for name in counted)
    assert server.metric("voxraga_queue_size") == server.metric("voxraga_in_flight") == 0
    assert server.metric("voxraga_model_load_seconds") > 0


def test_text_is_never_logged(server: Running, capfd: pytest.CaptureFixture[str], tones: ToneEngine) -> None:
    logs.setup("debug")
    secret = "Xylophone quartz jubilee."
    server.client.post("/v1/audio/speech", json={"input": secret})
    server.client.post("/v1/audio/speech", json={"input": secret, "speed": 9})
    tones.fail_after = 0
    assert server.client.post("/v1/audio/speech", json={"input": secret}).status_code == 500
    out, err = capfd.readouterr()
    assert "Xylophone" not in out + err
