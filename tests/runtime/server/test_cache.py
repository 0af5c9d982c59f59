"""Answers that are kept: the same bytes in every form without any work, bounded, and only what is complete."""

import base64
import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.server.brought import publish_bundle
from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import Running, running
from tests.runtime.server.test_models import TWO
from tests.runtime.server.test_stream import opened, say, until
from tests.runtime.server.test_timestamps import WORDS, WordEngine
from voxraga_runtime.common.encoding import FORMATS
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server.cache import Cache, Part, Recording, Replay, key_of
from voxraga_runtime.server.engines.base import Word
from voxraga_runtime.server.models import stored as stores
from voxraga_runtime.server.models.model import Model, prepare
from voxraga_runtime.server.render import Speech
from voxraga_runtime.server.requests import Ask
from voxraga_runtime.server.workers import Job
from voxraga_runtime.store.uploads import Uploads

TEXT = "One sentence of five words. And here comes another one."
SPEECH = "/v1/audio/speech"
LIMIT = 8 << 20


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(WordEngine(), tmp_path_factory.mktemp("model"), response_cache_bytes=LIMIT) as started:
        yield started


def spoken(server: Running) -> float:
    """Characters, counted once a worker is free again."""
    server.wait_health(in_flight=0)
    return server.metric("voxraga_characters_total")


def post(server: Running, path: str, body: dict[str, Any], outcome: str) -> bytes:
    """The answer's body, which came from the cache or didn't: what was computed tells too."""
    before = spoken(server)
    answer = server.client.post(path, json=body)
    assert (answer.status_code, answer.headers.get("x-cache")) == (200, outcome), answer.text
    assert (spoken(server) == before) is (outcome == "hit")
    return answer.content


def answer(size: int) -> tuple[Part, ...]:
    return (Part(bytes(size)),)


def test_who_was_used_longest_ago_makes_room() -> None:
    cache = Cache(100)
    for key in b"a", b"b", b"c", b"d":
        cache.keep(key, answer(25))
    assert cache.find(b"a")
    cache.keep(b"e", answer(10))
    assert [key for key in (b"a", b"b", b"c", b"d", b"e") if cache.find(key)] == [b"a", b"c", b"d", b"e"]
    assert cache.bytes == 85


def test_one_answer_takes_a_quarter_at_most() -> None:
    cache = Cache(100)
    cache.keep(b"a", answer(25))
    cache.keep(b"b", answer(26))
    assert cache.find(b"a")
    assert cache.find(b"b") is None
    assert cache.bytes == 25


def test_the_same_answer_again_takes_no_more_room() -> None:
    cache = Cache(100)
    cache.keep(b"a", answer(20))
    cache.keep(b"a", answer(25))
    assert cache.bytes == 25


async def test_a_recorded_answer_is_replayed_in_its_pieces_each_after_its_words() -> None:
    first, second = Word("one", 0, 1), Word("two", 1, 2)
    cache, job = Cache(100), Job()
    recording = Recording(cache, b"a", job, timestamps=True)
    job.words.append(first)
    recording.put(b"12")
    job.words.append(second)
    recording.put(b"")
    recording.put(b"345")
    assert cache.find(b"a") is None  # not complete yet
    recording.complete()
    found = cache.find(b"a")
    assert found == (Part(b"12", (first,)), Part(b"345", (second,)))
    replay = Replay(found)
    assert [(part, len(replay.words)) async for part in replay.chunks()] == [(b"12", 1), (b"345", 2)]
    assert replay.done.is_set()


async def test_of_an_answer_that_is_too_large_nothing_is_held() -> None:
    cache, job = Cache(100), Job()
    recording = Recording(cache, b"a", job, timestamps=False)
    for _ in range(26):
        recording.put(b"1")
    recording.complete()
    assert cache.find(b"a") is None
    job.finish()
    assert len([part async for part in job.chunks()]) == 26  # its client gets it all the same


@pytest.fixture
def model(tmp_path: Path) -> Model:
    values: dict[str, Any] = {"model_name": "narrator", "model_path": tmp_path}
    return prepare(load_settings(**values), WordEngine(), stores.read("narrator", tmp_path))


def asked(model: Model, **changes: Any) -> Speech:
    return model.catalogue.speech(Ask(**{"text": TEXT, "text_field": "input", **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"text": TEXT + "!"},
        {"voice": "high"},
        {"language": "de"},
        {"speed": 1.5},
        {"seed": 1},
        {"format": "wav"},
        {"sample_rate": 48000},
        {"stream": False},
        {"lexicon": {"sentence": "phrase"}},
        {"timestamp_granularities": ["word"]},
    ],
    ids=str,
)
def test_what_decides_the_bytes_decides_the_key(model: Model, changes: dict[str, Any]) -> None:
    assert key_of(model, asked(model, **changes)) != key_of(model, asked(model))


def test_words_are_told_as_they_were_written(model: Model) -> None:
    """Two texts that sound the same: equal audio, but other words."""
    lexicon, times = {"phrase": "sentence"}, {"timestamp_granularities": ["word"]}
    other = TEXT.replace("sentence", "phrase")
    assert key_of(model, asked(model, text=other, lexicon=lexicon)) == key_of(model, asked(model))
    assert key_of(model, asked(model, text=other, lexicon=lexicon, **times)) != key_of(model, asked(model, **times))


def test_events_hold_the_audio_of_the_stream(model: Model) -> None:
    assert key_of(model, asked(model, stream_format="sse")) == key_of(model, asked(model, stream=True))


@pytest.mark.parametrize("change", [{"name": "other"}, {"digest": "sha256:0"}, {"created": 1}, {"path": Path("/x@2")}])
def test_a_replaced_model_is_another(model: Model, change: dict[str, Any]) -> None:
    replaced = dataclasses.replace(model, stored=dataclasses.replace(model.stored, **change))
    assert key_of(replaced, asked(model)) != key_of(model, asked(model))


def test_another_level_is_another_answer(model: Model) -> None:
    louder = dataclasses.replace(model, gains=dict.fromkeys(model.gains, 2.0))
    assert key_of(louder, asked(model)) != key_of(model, asked(model))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("form", FORMATS)
def test_the_same_bytes_in_every_format(api: Running, form: str, stream: bool) -> None:
    body = {"input": TEXT, "response_format": form, "stream": stream}
    assert post(api, SPEECH, body, "miss") == post(api, SPEECH, body, "hit")


def test_the_same_events_with_the_same_words(api: Running) -> None:
    body = {"input": TEXT, "stream_format": "sse", "timestamp_granularities": ["word"], "seed": 1}

    def told(outcome: str) -> tuple[list[Any], list[Any], Any]:
        lines = post(api, SPEECH, body, outcome).decode().split("\n\n")
        events = [json.loads(line[6:]) for line in lines if line]
        words = [w for e in events if e["type"] == "speech.audio.timestamps" for w in e["words"]]
        assert events[0]["type"] == "speech.audio.timestamps"
        return words, [e["audio"] for e in events if e["type"] == "speech.audio.delta"], events[-1]

    missed, hit = told("miss"), told("hit")
    assert missed == hit
    assert [w["word"] for w in hit[0]] == WORDS
    assert hit[2]["type"] == "speech.audio.done"


def test_the_same_json(api: Running) -> None:
    body = {"text": TEXT, "timestamp_granularities": ["word"], "seed": 2}
    assert post(api, "/synthesize", body, "miss") == post(api, "/synthesize", body, "hit")


def test_the_same_over_the_websocket(api: Running) -> None:
    def heard() -> tuple[list[dict[str, Any]], bytes]:
        with opened(api) as socket:
            say(socket, "session.start", timestamp_granularities=["word"], seed=3)
            say(socket, "input.text", text=TEXT)
            say(socket, "input.end")
            return until(socket, "session.done")

    first = heard()
    before = spoken(api)
    assert heard() == first
    assert spoken(api) == before


def test_an_uploaded_model_that_is_replaced_speaks_anew(tmp_path: Path, speedy_bundle: Path) -> None:
    uploads = Uploads(tmp_path / "uploads")
    publish_bundle(uploads, "two", speedy_bundle, TWO)
    body = {"input": "The door is closed.", "model": "two"}
    settings = {"uploads_path": uploads.path, "uploads_without_keys": True, "response_cache_bytes": LIMIT}
    with running(ToneEngine(), tmp_path, **settings) as server:
        assert post(server, SPEECH, body, "miss") == post(server, SPEECH, body, "hit")
        publish_bundle(uploads, "two", speedy_bundle, TWO, replace=True)
        post(server, SPEECH, body, "miss")


def test_compare_measures_what_it_makes(api: Running) -> None:
    body = {"text": "How long does it take?", "models": ["narrator"], "format": "wav"}
    for _ in range(2):
        before = spoken(api)
        answer = api.client.post("/synthesize/compare", json=body)
        assert "x-cache" not in answer.headers
        assert base64.b64decode(answer.json()["results"]["narrator"]["audio_base64"])
        assert spoken(api) > before


def test_a_hit_needs_no_worker_and_no_place_in_the_queue(tmp_path: Path, tones: ToneEngine) -> None:
    known, other = {"input": "It is known."}, {"input": "It is not."}
    limits = {"max_concurrency": 1, "queue_depth": 0, "response_cache_bytes": LIMIT}
    with running(tones, tmp_path, **limits) as server:
        first = server.client.post(SPEECH, json=known)
        server.wait_health(in_flight=0)
        tones.gate.clear()
        busy = threading.Thread(target=server.client.post, args=(SPEECH,), kwargs={"json": other})
        busy.start()
        try:
            server.wait_health(in_flight=1)
            assert server.client.post(SPEECH, json={"input": "Nor is it."}).status_code == 429
            again = server.client.post(SPEECH, json=known)
        finally:
            tones.gate.set()
            busy.join()
        assert (again.status_code, again.headers["x-cache"], again.content) == (200, "hit", first.content)
        assert server.metric('voxraga_response_cache_requests_total{outcome="hit"}') == 1
        assert server.metric('voxraga_response_cache_requests_total{outcome="miss"}') == 3
        assert server.metric("voxraga_response_cache_bytes") >= len(first.content)


def fails(server: Running, tones: ToneEngine, body: dict[str, Any]) -> None:
    """The second sentence fails; the answer is on its way by then."""
    tones.fail_after = 1
    with server.client.stream("POST", SPEECH, json={**body, "stream_format": "sse"}) as answer:
        assert "synthesis_failed" in answer.read().decode()
    tones.fail_after = None


def leaves(server: Running, tones: ToneEngine, body: dict[str, Any]) -> None:
    """The client goes after the first sentence."""
    tones.gated_from = 1
    tones.gate.clear()
    with server.client.stream("POST", SPEECH, json=body) as answer:
        next(answer.iter_raw())
    server.wait_health(in_flight=0)  # the worker noticed
    assert tones.cancelled == 1
    tones.gate.set()


@pytest.mark.parametrize("breaks_off", [fails, leaves])
def test_only_complete_answers_are_kept(
    tmp_path: Path, tones: ToneEngine, breaks_off: Callable[[Running, ToneEngine, dict[str, Any]], None]
) -> None:
    body = {"input": TEXT, "response_format": "pcm"}
    with running(tones, tmp_path, response_cache_bytes=LIMIT) as server:
        breaks_off(server, tones, body)
        assert server.metric("voxraga_response_cache_bytes") == 0
        assert post(server, SPEECH, body, "miss") == post(server, SPEECH, body, "hit")


def test_without_a_cache_nothing_is_kept_or_said(server: Running) -> None:
    for _ in range(2):
        before = spoken(server)
        assert "x-cache" not in server.client.post(SPEECH, json={"input": TEXT}).headers
        assert spoken(server) > before
    assert server.metric("voxraga_response_cache_bytes") == 0


def test_whoever_may_not_call_gets_no_answer_of_the_cache_either(tmp_path: Path, tones: ToneEngine) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "team").write_text("first-key\nsecond-key\n")
    with running(tones, tmp_path, response_cache_bytes=LIMIT, api_keys_path=keys) as server:

        def ask(key: str) -> tuple[int, str | None]:
            answer = server.client.post(SPEECH, json={"input": TEXT}, headers={"X-API-Key": key})
            return answer.status_code, answer.headers.get("x-cache")

        assert [ask("first-key"), ask("wrong-key"), ask("second-key")] == [(200, "miss"), (401, None), (200, "hit")]
