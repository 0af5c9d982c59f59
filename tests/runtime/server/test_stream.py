"""The WebSocket: text as it is written, audio as it is made, cancellation, limits, the end of a server."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets.exceptions
from websockets.sync.client import ClientConnection, connect

from tests.runtime.server.engine import SECONDS_PER_CHARACTER, ToneEngine
from tests.runtime.server.harness import PATIENCE, Running, running
from tests.speech.audio import read, read_pcm
from voxraga_runtime.server import live
from voxraga_runtime.server.render import PAUSE_SECONDS

PATH = "/v1/audio/speech/stream"
Received = tuple[list[dict[str, Any]], bytes]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(ToneEngine(), tmp_path_factory.mktemp("model"), max_text_length=300) as started:
        yield started


def opened(server: Running, **options: Any) -> ClientConnection:
    return connect(server.url.replace("http", "ws") + PATH, open_timeout=PATIENCE, **options)


def say(socket: ClientConnection, kind: str, **fields: Any) -> None:
    socket.send(json.dumps({"type": kind, **fields}))


def until(socket: ClientConnection, kind: str) -> Received:
    """All that comes up to a message of this kind, that included."""
    messages, audio = [], b""
    while not messages or messages[-1]["type"] != kind:
        frame = socket.recv(timeout=PATIENCE)
        if isinstance(frame, bytes):
            audio += frame
        else:
            messages.append(json.loads(frame))
    return messages, audio


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def closed(socket: ClientConnection) -> int:
    with contextlib.suppress(websockets.exceptions.ConnectionClosed):
        for _ in socket:
            pass
    return socket.close_code or 0


def test_words_become_sentences_become_sound(api: Running) -> None:
    sentences = ("Dr. Who paid 3.50 for it.", "Was it worth it?", "Nobody knows")
    with opened(api) as socket:
        for word in " ".join(sentences).split(" "):
            say(socket, "input.text", text=word + " ")
        say(socket, "input.end")
        messages, audio = until(socket, "session.done")
        assert closed(socket) == 1000
    started = messages[0]
    assert started["type"] == "session.started"
    assert (started["format"], started["sample_rate"], started["voice"]) == ("pcm", 24000, "low")
    assert [m["text"] for m in messages if m["type"] == "sentence.started"] == list(sentences)
    assert [m["index"] for m in messages if m["type"] == "sentence.done"] == [0, 1, 2]
    samples, rate = read_pcm(audio, 24000)
    spoken = len("".join(sentences)) + 1  # the last one is given its full stop
    assert len(samples) / rate == pytest.approx(spoken * SECONDS_PER_CHARACTER + 2 * PAUSE_SECONDS, rel=0.01)
    assert messages[-1]["usage"] == {"input_characters": len("".join(sentences)), "audio_bytes": len(audio)}


def test_a_sentence_is_heard_before_the_next_is_written(api: Running) -> None:
    with opened(api) as socket:
        say(socket, "input.text", text="This one is over. And this")
        messages, audio = until(socket, "sentence.done")
        assert messages[1]["text"] == "This one is over."
        assert len(audio) > 24000
        say(socket, "input.flush")
        messages, _ = until(socket, "flush.done")
        assert kinds(messages) == ["sentence.started", "sentence.done", "flush.done"]
        assert messages[0]["text"] == "And this"
        say(socket, "input.text", text="今日は。")  # needs no word after it
        assert until(socket, "sentence.done")[0][0]["text"] == "今日は。"


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "wav", "flac"])
def test_each_sentence_is_a_file_in_other_formats(api: Running, form: str) -> None:
    options = {"response_format": form, "voice": "high", "speed": 1.25, "model": "tts-1"}
    with opened(api) as socket:
        say(socket, "session.start", **options)
        (started,), _ = until(socket, "session.started")
        assert (started["format"], started["voice"]) == (form, "high")
        for text in ("The first sentence of two. ", "And this is the second one."):
            say(socket, "input.text", text=text)
            say(socket, "input.flush")
            _, audio = until(socket, "flush.done")
            if form != "flac":  # streamed, its header tells no length
                samples, rate = read(audio)
                assert len(samples) / rate == pytest.approx(len(text.strip()) * SECONDS_PER_CHARACTER / 1.25, rel=0.08)
                spectrum = np.abs(np.fft.rfft(samples))
                assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(440, abs=2)


def test_cancelling_stops_at_once_and_the_session_goes_on(tmp_path: Path) -> None:
    tones = ToneEngine()
    with running(tones, tmp_path, max_concurrency=1) as server, opened(server) as socket:
        tones.gate.clear()
        say(socket, "input.text", text="Never heard. Nor this. Nor ")
        server.wait_health(in_flight=1)
        say(socket, "input.cancel")
        _, audio = until(socket, "cancelled")
        server.wait_health(in_flight=0)
        tones.gate.set()
        say(socket, "input.text", text="But this is.")
        say(socket, "input.end")
        more, _ = until(socket, "session.done")
        assert audio == b""
        assert [m["text"] for m in more if m["type"] == "sentence.started"] == ["But this is."]
        assert more[-1]["usage"]["input_characters"] == len("But this is.")
    assert tones.cancelled == 1


@pytest.mark.parametrize("ended", [False, True])
def test_leaving_frees_the_worker(tmp_path: Path, ended: bool) -> None:
    tones = ToneEngine()
    with running(tones, tmp_path, max_concurrency=1) as server:
        tones.gate.clear()
        with opened(server) as socket:
            say(socket, "input.text", text="Somebody hangs up in mid-sentence. Really.")
            if ended:
                say(socket, "input.end")
            server.wait_health(in_flight=1)
        server.wait_health(in_flight=0, queue_size=0)
        assert tones.cancelled == 1
        assert 'voxraga_requests_total{endpoint="/v1/audio/speech/stream",status="101"} 1.0' in metrics(server)


def metrics(server: Running) -> str:
    return server.client.get("/metrics").text


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        ('{"type": "input.text"', 1008, "not valid JSON"),
        ("[1]", 1008, "JSON object"),
        ("[" * 3000, 1008, "nested too deeply"),
        ('{"type": "sing"}', 1008, "session.start, input.text"),
        ('{"type": "input.text", "text": 5}', 1008, "text must be a string"),
        ('{"type": "session.start", "voice": "nobody"}', 1008, "one of low, high"),
        ('{"type": "session.start", "speed": "x"}', 1008, "speed"),
        ('{"type": "session.start", "speed": 9}', 1008, "0.5 to 2.0"),
        ('{"type": "session.start", "model": "gpt-5"}', 1011, "does not exist"),
        (json.dumps({"type": "input.text", "text": "x" * 301}), 1009, "301 characters; at most 300"),
        (json.dumps({"type": "input.text", "text": "x", "more": "x" * 10_000}), 1009, "too large"),
        (b"\x00\x01", 1008, "must be JSON text"),
    ],
)
def test_what_is_wrong_is_said_before_the_end(api: Running, sent: str | bytes, code: int, told: str) -> None:
    with opened(api) as socket:
        socket.send(sent)
        messages, _ = until(socket, "error")
        assert told in messages[-1]["error"]["message"]
        assert set(messages[-1]["error"]) == {"message", "type", "param", "code"}
        assert closed(socket) == code


def test_unspoken_text_is_bounded(tmp_path: Path) -> None:
    tones = ToneEngine()
    with running(tones, tmp_path, max_text_length=100) as server, opened(server) as socket:
        tones.gate.clear()
        for _ in range(6):
            say(socket, "input.text", text="A sentence of some forty characters, yes. ")
        assert "at most 100" in until(socket, "error")[0][-1]["error"]["message"]
        assert closed(socket) == 1009
        tones.gate.set()


def test_a_session_nobody_uses_is_closed(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "IDLE", 0.2)
    with opened(api) as socket:
        assert until(socket, "error")[0][-1]["error"]["code"] == "session_idle"
        assert closed(socket) == 1008


def test_a_full_queue_is_said(tmp_path: Path) -> None:
    tones = ToneEngine()
    with (
        running(tones, tmp_path, max_concurrency=1, queue_depth=0) as server,
        opened(server) as first,
        opened(server) as second,
    ):
        tones.gate.clear()
        say(first, "input.text", text="Takes the only worker. ")
        say(first, "input.flush")
        server.wait_health(in_flight=1)
        say(second, "input.text", text="Finds none.")
        say(second, "input.flush")
        messages, _ = until(second, "error")
        assert (messages[-1]["error"]["code"], messages[-1]["retry_after"]) == ("queue_full", 1)
        assert closed(second) == 1013
        tones.gate.set()
        until(first, "flush.done")


def test_a_server_that_ends_says_so_and_finishes_the_sentence(tmp_path: Path) -> None:
    tones = ToneEngine()
    with running(tones, tmp_path, max_concurrency=1) as server, opened(server) as socket:
        tones.gate.clear()
        say(socket, "input.text", text="This one is finished. This one is not. ")
        say(socket, "input.flush")
        server.wait_health(in_flight=1)
        server.stop()
        messages, _ = until(socket, "session.draining")
        assert messages[-1]["unspoken_sentences"] == 1
        tones.gate.set()
        messages, audio = until(socket, "sentence.done")
        assert messages[-1]["index"] == 0
        assert len(audio) > 24000
        assert closed(socket) == 1012


def test_a_long_session_pays_for_its_text(tmp_path: Path) -> None:
    limits = {"rate_limit_per_minute": 1, "rate_limit_burst": 2, "max_text_length": 50}
    with running(ToneEngine(), tmp_path, **limits) as server, opened(server) as socket:
        for _ in range(2):  # the opening paid for 50 characters, a second token does for 50 more
            say(socket, "input.text", text="Some forty characters that are spoken.  ")
            say(socket, "input.flush")
            until(socket, "flush.done")
        say(socket, "input.text", text="Some forty characters that are not.     ")
        messages, _ = until(socket, "error")
        assert messages[-1]["error"]["code"] == "rate_limit_exceeded"
        assert 50 < messages[-1]["retry_after"] <= 60
        assert closed(socket) == 1013


def test_a_model_that_breaks(tmp_path: Path) -> None:
    tones = ToneEngine()
    with running(tones, tmp_path) as server, opened(server) as socket:
        tones.fail_after = 0
        say(socket, "input.text", text="Anything.")
        say(socket, "input.end")
        assert until(socket, "error")[0][-1]["error"]["code"] == "synthesis_failed"
        assert closed(socket) == 1011


def test_keys_origins_and_subprotocols(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("right")
    with running(ToneEngine(), tmp_path, api_keys_path=tmp_path, cors_origins=["https://app.example.com"]) as server:

        def refusal(**options: Any) -> tuple[int, str]:
            with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
                opened(server, **options)
            response = caught.value.response
            return response.status_code, json.loads(response.body or b"")["error"]["code"]

        key = {"Authorization": "Bearer right"}
        assert refusal() == (401, "missing_api_key")
        assert refusal(additional_headers={"X-API-Key": "wrong"}) == (401, "invalid_api_key")
        assert refusal(additional_headers=key, origin="https://evil.example.com") == (403, "origin_not_allowed")
        with opened(server, additional_headers=key, origin=server.url), opened(server, additional_headers=key):
            pass
        browser: dict[str, Any] = {"origin": "https://app.example.com"}
        with opened(server, subprotocols=["voxraga", "openai-insecure-api-key.right"], **browser) as socket:
            assert socket.subprotocol == "voxraga"
        with opened(server, subprotocols=["openai-insecure-api-key.right"], **browser) as socket:
            assert socket.subprotocol == "openai-insecure-api-key.right"
