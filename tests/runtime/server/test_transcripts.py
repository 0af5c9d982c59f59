"""Transcriptions: every way to write them down, OpenAI's client, recordings of every kind, and hostile ones."""

import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from tests.runtime.server.harness import Running, running
from voxraga_runtime.common.audio import FloatArray
from voxraga_runtime.common.encoding import FORMATS, encode
from voxraga_runtime.common.errors import InvalidRequest
from voxraga_runtime.server.engines.base import Word
from voxraga_runtime.server.engines.transcribe import Heard, Segment
from voxraga_runtime.server.recording import RATE, decode
from voxraga_runtime.server.transcripts import Transcript

SEGMENTS = (
    Segment(0.0, 1.25, " Hello there.", (7, 8), words=(Word("Hello", 0.1, 0.5), Word("there.", 0.5, 1.2))),
    Segment(1.25, 3723.0045, " It costs\n\n3.14 --> euros."),
)
FIRST, SECOND = "Hello there.\n\n", "It costs 3.14 -> euros.\n\n"
SRT = f"1\n00:00:00,000 --> 00:00:01,250\n{FIRST}2\n00:00:01,250 --> 01:02:03,004\n{SECOND}"
VTT = f"WEBVTT\n\n00:00:00.000 --> 00:00:01.250\n{FIRST}00:00:01.250 --> 01:02:03.004\n{SECOND}"
TEXT = "Hello there. It costs 3.14 --> euros."
SECONDS = 1.5


def tone(rate: int = 24000, seconds: float = SECONDS) -> FloatArray:
    return (0.3 * np.sin(2 * np.pi * 300 * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


WAV = encode(FORMATS["wav"], 24000, tone())


class Ears:
    """An engine that has heard SEGMENTS, whatever it is given."""

    architecture = "ears"
    languages = ("en", "de")
    tells_words = True

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.fail = False

    def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    def transcribe(
        self, pcm16k: FloatArray, language: str | None = None, prompt: str = "", temperature: float = 0.0, **asked: Any
    ) -> Iterator[Heard | Segment]:
        self.heard.append({"audio": pcm16k, "language": language, "prompt": prompt, "temperature": temperature} | asked)
        yield Heard(language or "de", len(pcm16k) / RATE)
        yield SEGMENTS[0]
        if self.fail:
            raise RuntimeError("the model broke")
        yield SEGMENTS[1]


@pytest.fixture(scope="module")
def hearing() -> Ears:
    return Ears()


@pytest.fixture
def ears(hearing: Ears) -> Ears:
    hearing.heard.clear()
    hearing.fail = False
    return hearing


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, hearing: Ears) -> Iterator[Running]:
    model = tmp_path_factory.mktemp("model")
    limits = {"max_audio_seconds": 5, "max_audio_bytes": 3 << 20}
    with running(lambda: hearing, model, task="SpeechToText", **limits) as started:  # type: ignore[arg-type,return-value]
        yield started


def post(server: Running, path: str = "/v1/audio/transcriptions", file: bytes = WAV, **fields: Any) -> Any:
    return server.client.post(path, files={"file": ("speech.wav", file)}, data=fields)


def test_a_voice_cannot_hear(server: Running) -> None:
    answer = post(server, model="whisper-1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_supported")
    assert "text-to-speech" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/stt"])
def test_json_is_the_default(api: Running, ears: Ears, path: str) -> None:
    answer = post(api, path, language="en", prompt="Prices.", temperature="0.2", model="whisper-1", unknown="x")
    assert answer.status_code == 200
    assert answer.json() == {"text": TEXT, "usage": {"type": "duration", "seconds": SECONDS}}
    (heard,) = ears.heard
    audio = heard.pop("audio")
    assert (audio.dtype, audio.ndim, len(audio)) == (np.float32, 1, pytest.approx(RATE * SECONDS, rel=0.01))
    assert (heard["language"], heard["prompt"], heard["temperature"]) == ("en", "Prices.", 0.2)
    assert heard["timestamps"] is False
    assert api.metric("voxraga_heard_seconds_total") > 0


@pytest.mark.parametrize(
    ("form", "content_type", "content"),
    [
        ("text", "text/plain; charset=utf-8", TEXT + "\n"),
        (
            "srt",
            "application/x-subrip",
            SRT,
        ),
        (
            "vtt",
            "text/vtt; charset=utf-8",
            VTT,
        ),
    ],
)
@pytest.mark.usefixtures("ears")
def test_plain_formats(api: Running, form: str, content_type: str, content: str) -> None:
    answer = post(api, response_format=form)
    assert (answer.headers["content-type"], answer.text) == (content_type, content)


def test_verbose_json(api: Running, ears: Ears) -> None:
    made = post(api, response_format="verbose_json", **{"timestamp_granularities[]": ["segment"]}).json()
    assert (made["task"], made["language"], made["duration"], made["text"]) == ("transcribe", "de", SECONDS, TEXT)
    assert [(s["id"], s["start"], s["end"], s["tokens"]) for s in made["segments"]] == [
        (0, 0.0, 1.25, [7, 8]),
        (1, 1.25, 3723.005, []),
    ]
    assert ears.heard[0]["timestamps"] is True


@pytest.mark.parametrize(("asked", "given"), [(["word"], {"words"}), (["word", "segment"], {"words", "segments"})])
def test_words_where_they_are_asked_for(api: Running, ears: Ears, asked: list[str], given: set[str]) -> None:
    made = post(api, response_format="verbose_json", seed="7", **{"timestamp_granularities[]": asked}).json()
    assert made.keys() & {"words", "segments"} == given
    assert made["words"] == [{"word": "Hello", "start": 0.1, "end": 0.5}, {"word": "there.", "start": 0.5, "end": 1.2}]
    assert (ears.heard[0]["words"], ears.heard[0]["seed"]) == (True, 7)


def test_a_model_that_knows_no_words_says_so(api: Running, ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ears, "tells_words", False)
    answer = post(api, response_format="verbose_json", **{"timestamp_granularities[]": ["word"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_by_model")
    assert "alignment_heads" in answer.json()["error"]["message"]


def test_a_model_that_breaks(api: Running, ears: Ears) -> None:
    ears.fail = True
    assert post(api).json()["error"]["code"] == "transcription_failed"
    events = [json.loads(line[6:]) for line in post(api, stream="true").text.split("\n\n") if line]
    assert [e["type"] for e in events] == ["transcript.text.delta", "error"]
    api.wait_health(in_flight=0)


@pytest.mark.usefixtures("ears")
def test_events(api: Running) -> None:
    answer = post(api, stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
    assert [e["type"] for e in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert "".join(e["delta"] for e in events[:-1]) == events[-1]["text"] == TEXT


@pytest.mark.usefixtures("ears")
def test_openais_client(api: Running) -> None:
    with openai.OpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as client:
        create = client.audio.transcriptions.create
        assert create(model="whisper-1", file=("a.wav", WAV)).text == TEXT
        verbose = create(model="whisper-1", file=("a.wav", WAV), response_format="verbose_json")
        assert verbose.segments is not None
        assert verbose.segments[0].end == 1.25
        assert create(model="whisper-1", file=("a.wav", WAV), response_format="srt").startswith("1\n")
        events = list(create(model="gpt-4o-transcribe", file=("a.wav", WAV), stream=True))
        assert events[-1].type == "transcript.text.done"
        with pytest.raises(openai.NotFoundError):
            create(model="other", file=("a.wav", WAV))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "2"}, "temperature"),
        ({"stream": "perhaps"}, "stream"),
        ({"timestamp_granularities[]": ["word"]}, "timestamp_granularities"),
        ({"seed": "-1"}, "seed"),
        ({"seed": "9" * 30}, "seed"),
        ({"seed": "²"}, "seed"),
        ({"timestamp_granularities[]": ["letter"], "response_format": "verbose_json"}, "timestamp_granularities"),
    ],
)
@pytest.mark.usefixtures("ears")
def test_bad_fields_are_named(api: Running, fields: dict[str, Any], param: str) -> None:
    answer = post(api, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"data": {"file": "text"}}, 400),
        ({"json": {"file": "x"}}, 400),
        ({"content": b"--b\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"files": [("file", ("a", WAV)), ("other", ("b", WAV))]}, 400),
        ({"files": {"file": ("a", WAV)}, "data": {f"f{n}": "x" for n in range(30)}}, 400),
        ({"files": {"file": ("a", WAV)}, "data": {"prompt": "x" * 20_000}}, 400),
        ({"files": {"file": ("a", b"x" * (5 << 20))}}, 413),
    ],
)
@pytest.mark.usefixtures("ears")
def test_bodies_that_are_none(api: Running, options: dict[str, Any], status: int) -> None:
    answer = api.client.post("/stt", **options)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav"])
def test_recordings_of_every_kind(name: str) -> None:
    rate = 48000
    found = decode(io.BytesIO(encode(FORMATS[name], rate, tone(rate))), 5)
    assert len(found) / RATE == pytest.approx(SECONDS, rel=0.05)
    spectrum = np.abs(np.fft.rfft(found))
    assert np.argmax(spectrum) * RATE / len(found) == pytest.approx(300, abs=2)


def broken_wav(rate: int = 24000, channels: int = 1, bits: int = 16, data: bytes = b"\0" * 4000) -> bytes:
    block = channels * bits // 8
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * block % 2**32, block % 2**16, bits)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + layout + b"data" + struct.pack("<I", len(data)) + data
    )


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n%s\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "can't be read"),
        (b"not audio at all", "can't be read"),
        (b"\x00" * 100_000, "can't be read"),
        (WAV[:44], ""),
        (PLAYLIST % b"file:///etc/passwd", "can't be read"),
        (PLAYLIST % b"http://127.0.0.1:1/x.wav", "can't be read"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "can't be read"),
        (broken_wav(rate=1), "1 Hz"),
        (broken_wav(channels=0), ""),
        (broken_wav(channels=60_000), ""),
        (broken_wav(bits=0), ""),
        (b"OggS" + b"\xff" * 5000, ""),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + b"\xff" * 500, ""),
        (b"fLaC" + b"\xff" * 5000, ""),
        (encode(FORMATS["wav"], 8000, tone(8000, 6)), "longer than 5 s"),
    ],
)
def test_hostile_recordings_are_refused(data: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(io.BytesIO(data), 5)
    assert caught.value.param == "file"
    assert told in caught.value.message


def test_broken_recordings_never_end_in_anything_else() -> None:
    random = np.random.default_rng(1)
    for name in ("mp3", "opus", "aac", "flac", "wav"):
        whole = encode(FORMATS[name], 24000, tone(24000, 0.5))
        for _ in range(30):
            data = bytearray(whole)
            for place in random.integers(0, len(data), 12):
                data[place] = random.integers(0, 256)
            try:
                found = decode(io.BytesIO(bytes(data)), 5)
            except InvalidRequest:
                continue
            assert np.isfinite(found).all()
            assert np.abs(found).max() <= 1


def test_samples_that_are_no_numbers() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 1e30] * 2000, dtype="<f4").tobytes()
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32)
    data = struct.pack("<4sI4s", b"RIFF", 36 + len(wild), b"WAVE") + layout + struct.pack("<4sI", b"data", len(wild))
    found = decode(io.BytesIO(data + wild), 5)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1


def test_nothing_was_said() -> None:
    silent = Transcript((), 2.0, "en")
    assert (silent.text, silent.srt(), silent.vtt()) == ("", "", "WEBVTT\n\n")
    assert silent.verbose()["segments"] == []


def test_a_recording_too_big_for_memory_is_spooled(api: Running, ears: Ears) -> None:
    big = encode(FORMATS["wav"], 48000, tone(48000, 4.9)) + b"\0" * (2 << 20)
    assert post(api, file=big).status_code == 200
    assert len(ears.heard[0]["audio"]) / RATE == pytest.approx(4.9, rel=0.01)
