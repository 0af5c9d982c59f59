"""Whisper by the real loading code, and the service that runs it: windows, languages, cancelling, many at once."""

import asyncio
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch

from tests.runtime.server.whisper import whisper
from tests.runtime.store.bundles import Call, checkpoint
from voxraga_runtime.common.errors import (
    ClientGone,
    InvalidRequest,
    NotFound,
    StartupError,
    TranscriptionFailed,
    Unavailable,
)
from voxraga_runtime.common.metrics import ServerMetrics
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import main
from voxraga_runtime.server.engines.transcribe import Heard, Segment
from voxraga_runtime.server.engines.whisper import WhisperEngine
from voxraga_runtime.server.service import SpeechService
from voxraga_runtime.server.transcription import Listen

pytestmark = pytest.mark.usefixtures("few_threads")


def audio(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(round(seconds * 16000)) * 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def engine(bundle: Path) -> WhisperEngine:
    made = WhisperEngine(bundle)
    made.load()
    return made


def heard(engine: WhisperEngine, pcm: np.ndarray, **options: Any) -> tuple[Heard, list[Segment]]:
    first, *rest = engine.transcribe(pcm, **options)
    assert isinstance(first, Heard)
    return first, [s for s in rest if isinstance(s, Segment)]


def test_a_temperature_draws_by_the_seed(engine: WhisperEngine) -> None:
    """Whatever other requests draw at the same time, and whatever torch's own generator holds."""

    def drawn(seed: int) -> tuple[str, ...]:
        return tuple(s.text for s in heard(engine, audio(60), language="en", temperature=1.0, seed=seed)[1])

    alone = [drawn(seed) for seed in range(4)]
    assert len(set(alone)) > 1
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drawn, [0, 1, 2, 3, 3, 2, 1, 0])) == [*alone, *alone[::-1]]


@pytest.mark.filterwarnings("ignore:std")  # transformers', of a window with a single token
def test_words_by_the_cross_attention(engine: WhisperEngine) -> None:
    assert engine.tells_words
    plain, timed = (
        heard(engine, audio(75), language="en", temperature=1.0, seed=3, words=words)[1] for words in (False, True)
    )
    assert [(s.start, s.text) for s in timed] == [(s.start, s.text) for s in plain]
    assert not any(s.words for s in plain)
    words = [w for s in timed for w in s.words]
    assert words
    assert all(0 <= w.start <= w.end <= 75 for w in words)
    for segment in timed:
        assert "".join(w.text for w in segment.words) in "".join(segment.text.split())


@pytest.mark.parametrize("seconds", [0.5, 2.0, 30.0, 75.0])
@pytest.mark.parametrize("options", [{}, {"language": "de", "prompt": "Hi."}, {"timestamps": False}])
def test_segments_lie_in_the_audio(engine: WhisperEngine, seconds: float, options: dict[str, Any]) -> None:
    first, segments = heard(engine, audio(seconds), **options)
    assert first.duration == seconds
    assert first.language == options.get("language", first.language)
    assert all(0 <= s.start <= s.end <= seconds and s.text.strip() for s in segments)
    assert [s.start for s in segments] == sorted(s.start for s in segments)
    if seconds > 30:
        assert segments[-1].start >= 30


def test_without_timestamps_a_segment_is_a_window(engine: WhisperEngine) -> None:
    _, segments = heard(engine, audio(75), timestamps=False)
    assert [(s.start, s.end) for s in segments] == [(0, 30), (30, 60), (60, 75)]


def test_the_prompt_is_heard_but_not_repeated(engine: WhisperEngine) -> None:
    _, plain = heard(engine, audio(2), timestamps=False, language="en")
    _, prompted = heard(engine, audio(2), timestamps=False, language="en", prompt="hello")
    assert plain != prompted
    assert not any("hello" in s.text for s in prompted)
    assert heard(engine, audio(2), language="en", prompt="long " * 200)[1] is not None


def test_languages_and_ratio(engine: WhisperEngine) -> None:
    assert set(engine.languages) == {"de", "en"}
    assert Segment(0, 1, "na " * 50).compression_ratio > 2.4 > Segment(0, 1, "Hello there.").compression_ratio


def test_parallel_answers_equal_serial_ones(engine: WhisperEngine) -> None:
    asks = [(audio(3 + i % 3, i), ("en", "de", None)[i % 3], i % 2 == 0) for i in range(12)]

    def one(ask: tuple[np.ndarray, str | None, bool]) -> Any:
        torch.set_num_threads(1)
        return list(engine.transcribe(ask[0], ask[1], timestamps=ask[2]))

    alone = [one(ask) for ask in asks]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(one, asks)) == alone


def test_cancelled_between_windows(engine: WhisperEngine) -> None:
    stop = threading.Event()
    seen = []
    for item in engine.transcribe(audio(90), "en", timestamps=False, cancelled=stop.is_set):
        seen.append(item)
        if isinstance(item, Segment):
            stop.set()
    assert len(seen) == 2


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "preprocessor_config.json"])
def test_what_is_missing_ends_the_start(bundle: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(bundle, tmp_path / "m")
    (tmp_path / "m" / "files" / name).unlink()
    with pytest.raises(StartupError):
        WhisperEngine(tmp_path / "m").load()


def safetensors(header: bytes, announced: int | None = None, data: bytes = bytes(64)) -> bytes:
    return (len(header) if announced is None else announced).to_bytes(8, "little") + header + data


OVERLAPPING = json.dumps(
    {
        "a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]},
        "b": {"dtype": "F32", "shape": [8], "data_offsets": [32, 64]},
    }
).encode()
OUTSIDE = json.dumps({"a": {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 1 << 32]}}).encode()


@pytest.mark.parametrize(
    "weights",
    [
        safetensors(OVERLAPPING),
        safetensors(OUTSIDE),
        safetensors(b"{}", announced=1 << 62),
        safetensors(b"{" * 100_000),
        safetensors(b"{}")[:5],
    ],
    ids=["overlapping", "outside of the file", "a header without end", "nested", "cut off"],
)
def test_weights_that_are_a_trick_end_the_start(bundle: Path, tmp_path: Path, weights: bytes) -> None:
    shutil.copytree(bundle, tmp_path / "m")
    (tmp_path / "m" / "files" / "model.safetensors").write_bytes(weights)
    with pytest.raises(StartupError) as caught:
        WhisperEngine(tmp_path / "m").load()
    assert caught.value.reason == "ModelInvalid"


def test_pickles_are_not_run_where_weights_are_missing(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "m")
    files = tmp_path / "m" / "files"
    (files / "model.safetensors").unlink()
    (files / "pytorch_model.bin").write_bytes(checkpoint(Call(os.system, f"touch {tmp_path}/was-here")))
    with pytest.raises(StartupError):
        WhisperEngine(tmp_path / "m").load()
    assert not (tmp_path / "was-here").exists()


def test_another_model_is_refused(speedy_bundle: Path) -> None:
    with pytest.raises(StartupError, match="not whisper"):
        WhisperEngine(speedy_bundle).load()


@pytest_asyncio.fixture
async def service(bundle: Path) -> AsyncIterator[SpeechService]:
    settings = load_settings(model_name="ear", model_path=bundle, task="SpeechToText", max_concurrency=2)
    made = SpeechService(settings, ServerMetrics(), lambda: main._engine(settings), lambda: torch.set_num_threads(1))
    with pytest.raises(Unavailable):
        await made.transcribe(audio(1), Listen(), asyncio.Event())
    await made.start()
    yield made
    made.close()


async def test_the_service_gives_segments(service: SpeechService, engine: WhisperEngine) -> None:
    begun = await service.transcribe(audio(40), Listen(language="EN-us", timestamps=False), asyncio.Event())
    assert (begun.heard.language, begun.heard.duration) == ("en", 40)
    assert [s async for s in begun.segments()] == heard(engine, audio(40), language="en", timestamps=False)[1]
    await asyncio.wait_for(service.admission.idle(), 10)


@pytest.mark.parametrize(
    ("pcm", "listen", "param"),
    [
        (audio(0.05), Listen(), "file"),
        (audio(1), Listen(language="xx"), "language"),
        (audio(1), Listen(temperature=2), "temperature"),
    ],
)
async def test_the_service_refuses(service: SpeechService, pcm: np.ndarray, listen: Listen, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await service.transcribe(pcm, listen, asyncio.Event())
    assert refused.value.param == param
    with pytest.raises(NotFound):
        service.offer()


async def test_who_leaves_frees_the_worker(service: SpeechService) -> None:
    gone = asyncio.Event()
    begun = await service.transcribe(audio(600), Listen(language="en"), gone)
    gone.set()
    with pytest.raises(Unavailable):
        [s async for s in begun.segments()]
    await asyncio.wait_for(service.admission.idle(), 10)
    left = asyncio.Event()
    left.set()
    with pytest.raises(ClientGone):
        await service.transcribe(audio(600), Listen(), left)


async def test_a_failing_model_is_an_error_of_ours(service: SpeechService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WhisperEngine, "_window", lambda *_: 1 / 0)
    begun = await service.transcribe(audio(1), Listen(language="en"), asyncio.Event())
    with pytest.raises(TranscriptionFailed):
        [s async for s in begun.segments()]
