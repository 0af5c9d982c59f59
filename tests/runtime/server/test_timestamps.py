"""When each word is heard: told over every interface, and true of the decoded audio at any speed, rate and format."""

import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.server.engine import PITCH, RATE, SECONDS_PER_CHARACTER, ToneEngine
from tests.runtime.server.harness import Running, running
from tests.runtime.server.test_stream import opened, say, until
from tests.speech.audio import read, read_pcm
from voxraga_runtime.common.encoding import FORMATS
from voxraga_runtime.server.engines.base import Cancelled, Capabilities, Chunk, Utterance, Word
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.render import PAUSE_SECONDS

DEMO = Path(__file__).parents[3] / "runtime/voxraga_runtime/voices/demo"
TEXT = "One sentence of five words. And here comes another one."
WORDS = "One sentence of five words And here comes another one".split()
BODY = {"input": TEXT, "stream_format": "sse", "timestamp_granularities": ["word"]}
ERROR = 0.012  # seconds; energy is measured in frames of 5 ms
STRETCHED = 0.04  # the stretcher's window is 30 ms, and it moves what it keeps by up to 10


class WordEngine(ToneEngine):
    """Tones for words, silence for what lies between them; it says when they are."""

    def __init__(self, *, speed: bool = True) -> None:
        super().__init__(speed=speed)
        self.capabilities = Capabilities(speed=speed, reentrant=True, timestamps=True)

    def synthesize(self, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        del cancelled
        seconds = SECONDS_PER_CHARACTER / (utterance.speed if self.capabilities.speed else 1)
        each = round(seconds * RATE)
        for index, sentence in enumerate(utterance.sentences):
            time = np.arange(each * len(sentence)) / RATE
            sounding = np.repeat([c.isalnum() for c in sentence], each)
            samples = self.level * np.sin(2 * np.pi * PITCH[utterance.voice] * time) * sounding
            yield Chunk(samples.astype(np.float32), index, words=tuple(_words(sentence, each / RATE)))


def _words(sentence: str, seconds: float) -> Iterator[Word]:
    at = 0
    for word in sentence.split():
        text = "".join(c for c in word if c.isalnum())
        yield Word(text, at * seconds, (at + len(text)) * seconds)
        at += len(word) + 1


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(WordEngine(), tmp_path_factory.mktemp("model"), lexicon={"sentence": "two words"}) as started:
        yield started


def events(server: Running, **changes: Any) -> list[dict[str, Any]]:
    answer = server.client.post("/v1/audio/speech", json={**BODY, **changes})
    assert answer.status_code == 200, answer.text
    return [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]


def heard(data: bytes, form: str, rate: int) -> list[tuple[float, float]]:
    """From when to when something sounds, in seconds of the decoded audio."""
    audio, rate = read_pcm(data, rate) if form == "pcm" else read(data)
    size = rate // 200
    frames = audio[: len(audio) // size * size].reshape(-1, size)
    loud = np.sqrt((frames**2).mean(axis=1)) > 0.02
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]]))) * size / rate
    runs: list[tuple[float, float]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):  # a stretched tone may have a dip in it
        joined = runs and start - runs[-1][1] < SECONDS_PER_CHARACTER / 2 / 2
        runs[-1:] = [(runs[-1][0], end)] if joined else [*runs[-1:], (start, end)]
    return runs


def true_of(words: list[dict[str, Any]], data: bytes, form: str, rate: int, error: float = ERROR) -> None:
    runs = heard(data, form, rate)
    assert len(runs) == len(words)
    for word, (start, end) in zip(words, runs, strict=True):
        assert word["start"] == pytest.approx(start, abs=error), word
        assert word["end"] == pytest.approx(end, abs=error), word


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"flac"}))  # streamed, its header tells no length
def test_words_are_heard_when_they_are_said_to_be(api: Running, form: str) -> None:
    told = events(api, response_format=form, lexicon={"sentence": "sentence"})
    words = [w for e in told if e["type"] == "speech.audio.timestamps" for w in e["words"]]
    assert [w["word"] for w in words] == WORDS
    audio = b"".join(base64.b64decode(e["audio"]) for e in told if e["type"] == "speech.audio.delta")
    true_of(words, audio, form, 24000)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.7])
def test_as_json_at_once(api: Running, form: str, speed: float) -> None:
    body = {"text": TEXT, "format": form, "speed": speed, "timestamp_granularities": ["word"], "lexicon": {"x": "y"}}
    answer = api.client.post("/synthesize", json={**body, "lexicon": {"sentence": "sentence"}}).json()
    assert (answer["format"], answer["content_type"]) == (form, FORMATS[form].content_type)
    assert [w["word"] for w in answer["words"]] == WORDS
    true_of(answer["words"], base64.b64decode(answer["audio_base64"]), form, answer["sample_rate"])


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("speed", [0.5, 1.7])
def test_where_the_server_stretches_and_resamples(tmp_path: Path, rate: int, speed: float) -> None:
    with running(WordEngine(speed=False), tmp_path) as server:
        told = events(server, response_format="pcm", sample_rate=rate, speed=speed)
    words = [w for e in told if e["type"] == "speech.audio.timestamps" for w in e["words"]]
    audio = b"".join(base64.b64decode(e["audio"]) for e in told if e["type"] == "speech.audio.delta")
    true_of(words, audio, "pcm", rate, STRETCHED)


def test_words_come_before_their_audio(api: Running) -> None:
    told = events(api, response_format="pcm")
    seconds = 0.0
    for event in told:
        if event["type"] == "speech.audio.timestamps":
            assert all(word["start"] >= seconds for word in event["words"])
        elif event["type"] == "speech.audio.delta":
            seconds += len(base64.b64decode(event["audio"])) / 48000


def test_the_users_words_whatever_is_said_instead(api: Running) -> None:
    words = [w for e in events(api) if e["type"] == "speech.audio.timestamps" for w in e["words"]]
    assert [w["word"] for w in words] == WORDS
    assert words[1]["end"] - words[1]["start"] == pytest.approx(len("two words") * SECONDS_PER_CHARACTER, abs=1e-3)


def test_over_the_websocket_they_count_from_the_sentences_first_frame(api: Running) -> None:
    with opened(api) as socket:
        say(socket, "session.start", timestamp_granularities=["word"], voice={"id": "high"}, lexicon={"one": "ein"})
        say(socket, "input.text", text=TEXT)
        say(socket, "input.end")
        first, audio = until(socket, "sentence.done")
        assert [m["type"] for m in first[1:]] == ["sentence.started", "sentence.timestamps", "sentence.done"]
        second, later = until(socket, "session.done")
    assert first[0]["voice"] == "high"
    assert [w["word"] for m in (first[2], second[1]) for w in m["words"]] == WORDS
    assert second[1]["words"][0]["start"] == pytest.approx(PAUSE_SECONDS, abs=1e-3)
    runs = heard(later, "pcm", 24000)
    assert [w["start"] for w in second[1]["words"]] == pytest.approx([start for start, _ in runs], abs=ERROR)
    assert len(heard(audio, "pcm", 24000)) == 6  # "sentence" is said in two words


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/audio/speech", {**BODY, "stream_format": "audio"}, "needs stream_format: sse"),
        ("/v1/audio/speech", {**BODY, "timestamp_granularities": ["phoneme"]}, "'phoneme'; it must be word"),
        ("/synthesize", {"text": "x", "timestamp_granularities": ["sentence"]}, "'sentence'; it must be word"),
    ],
)
def test_what_cannot_be_told(api: Running, path: str, body: dict[str, Any], told: str) -> None:
    answer = api.client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "timestamp_granularities")
    assert told in answer.json()["error"]["message"]


def test_a_model_that_knows_no_times_says_so(server: Running) -> None:
    error = server.client.post("/v1/audio/speech", json=BODY).json()["error"]
    assert error["message"] == "timestamp_granularities: narrator (tone) can't tell the words' times"
    assert error["code"] == "unsupported_by_model"


@pytest.mark.parametrize(
    ("lexicon", "told"),
    [
        ({"x": "/y/"}, "lexicon: 'x' is '/y/': this model speaks no phonemes; respell it in letters"),
        ({str(n): "x" for n in range(101)}, "lexicon has 101 entries; at most 100 are allowed in a request"),
    ],
)
def test_a_requests_lexicon_is_bounded(api: Running, lexicon: dict[str, str], told: str) -> None:
    error = api.client.post("/v1/audio/speech", json={"input": "x", "lexicon": lexicon}).json()["error"]
    assert (error["message"], error["param"]) == (told, "lexicon")


@pytest.mark.parametrize("speed", [0.7, 1.0, 1.5])
def test_the_demo_voices_words_lie_in_its_sound(tmp_path: Path, speed: float) -> None:
    """Against the energy of real speech: in order, the last word ends with it, and a pause is silent."""
    text = "My name is Doctor Nguyen. I live in Köln."
    with running(lambda: CoquiEngine(DEMO), tmp_path, lexicon={"Köln": "/kɜːln/", "nguyen": "win"}) as server:
        body = {"text": text, "format": "pcm", "speed": speed, "timestamp_granularities": ["word"]}
        answer = server.client.post("/synthesize", json=body).json()
    words = answer["words"]
    assert [w["word"] for w in words] == "My name is Doctor Nguyen I live in Köln".split()
    audio, rate = read_pcm(base64.b64decode(answer["audio_base64"]), 24000)
    assert all(a["end"] <= b["start"] + 1e-6 for a, b in pairwise(words))
    level = np.sqrt(np.convolve(audio**2, np.ones(rate // 100) / (rate // 100), "same"))
    sounds = np.flatnonzero(level > 0.02 * level.max()) / rate
    assert words[0]["start"] == pytest.approx(sounds[0], abs=0.05)
    assert words[-1]["end"] == pytest.approx(sounds[-1], abs=0.05)
    pause = audio[round(words[4]["end"] * rate) + rate // 20 : round(words[5]["start"] * rate) - rate // 20]
    assert len(pause) / rate >= PAUSE_SECONDS / speed - 0.1
    assert np.sqrt((pause**2).mean()) < 0.02 * level.max()
