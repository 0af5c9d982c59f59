"""XTTS by the real loading code: voices, languages, streams, limits, and recordings that become voices."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runtime.server.harness import running
from tests.runtime.server.xtts import make_engine, one_thread, record, xtts
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import main
from voxraga_runtime.server.engines.base import Chunk, Utterance
from voxraga_runtime.server.engines.processes import ProcessEngine
from voxraga_runtime.server.engines.xtts import XttsEngine

TEXT = ("Hello there, my friend.",)


@pytest.fixture(scope="module", autouse=True)
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = xtts(tmp_path_factory.mktemp("xtts"))
    record(path, "Carl")
    return path


@pytest.fixture(scope="module")
def engine(bundle: Path) -> XttsEngine:
    made = make_engine(bundle)
    made.load()
    return made


def chunks(engine: XttsEngine, text: tuple[str, ...] = TEXT, **changes: Any) -> list[Chunk]:
    said = Utterance(text, changes.pop("voice", "Ana"), changes.pop("language", "en"), **changes)
    return list(engine.synthesize(said, lambda: False))


def samples(engine: XttsEngine, **changes: Any) -> np.ndarray:
    return np.concatenate([c.samples for c in chunks(engine, **changes)])


def test_what_it_says_of_itself(engine: XttsEngine) -> None:
    assert (engine.sample_rate, engine.architecture) == (24000, "xtts")
    assert [(v.id, v.origin) for v in engine.voices()] == [("Ana", "model"), ("Bo", "model"), ("Carl", "recording")]
    assert set(engine.languages) >= {"en", "de"}
    assert engine.capabilities.cloning
    assert not engine.capabilities.reentrant
    assert engine.capabilities.char_limits["en"] == 250


def test_streamed_in_chunks_like_the_whole(engine: XttsEngine) -> None:
    streamed, whole = chunks(engine, streamed=True), chunks(engine)
    assert len(streamed) > len(whole)
    assert [c.final for c in streamed] == [False] * (len(streamed) - 1) + [True]
    one, other = (np.concatenate([c.samples for c in made]) for made in (streamed, whole))
    assert len(one) == len(other)
    assert np.isfinite(one).all()
    assert np.corrcoef(one, other)[0, 1] > 0.99  # coqui cross-fades its chunks: near, not equal


def test_seeds_voices_and_speed(engine: XttsEngine) -> None:
    first = samples(engine)
    np.testing.assert_array_equal(samples(engine), first)
    assert not np.array_equal(samples(engine, seed=4), first)
    assert not np.array_equal(samples(engine, voice="Bo"), first)
    assert not np.array_equal(samples(engine, voice="Carl"), first)
    assert len(samples(engine, speed=2.0)) == pytest.approx(len(first) / 2, rel=0.05)


def test_a_single_token_is_too_short_to_be_faster(engine: XttsEngine) -> None:
    """With this seed the model stops at once: coqui would leave nothing of it, and fail."""
    said = {"text": ("Her letter crossed seven stones.",), "seed": 102}
    np.testing.assert_array_equal(samples(engine, speed=1.5, **said), samples(engine, **said))


def test_a_later_sentence_is_the_same_alone(engine: XttsEngine) -> None:
    made = chunks(engine, ("One.", "Two."))
    alone = samples(engine, text=("Two.",), seed=1)
    np.testing.assert_array_equal(np.concatenate([c.samples for c in made if c.sentence == 1]), alone)


def test_more_tokens_than_the_model_takes(engine: XttsEngine) -> None:
    parts = engine._parts("many words " * 20, "en")
    assert len(parts) > 1
    assert "".join(parts).replace(" ", "") == "manywords" * 20
    assert chunks(engine, ("x" * 150,))[-1].final


def test_cancelled_within_a_sentence(engine: XttsEngine) -> None:
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 2

    made = list(engine.synthesize(Utterance(TEXT * 2, "Ana", "en", streamed=True), cancelled))
    assert [c.final for c in made] == [False]


def test_latents_are_computed_once(bundle: Path, engine: XttsEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(XttsEngine, "_hear", lambda *_: pytest.fail("computed again"))
    again = make_engine(bundle)
    again.load()
    np.testing.assert_array_equal(samples(again, voice="Carl"), samples(engine, voice="Carl"))


def test_a_bundle_is_only_read(bundle: Path, engine: XttsEngine) -> None:
    names = {p.name for p in (bundle / "files").iterdir()}
    assert names == {"config.json", "model.pth", "vocab.json", "speakers_xtts.pth", "voices"}
    assert engine.voices()


@pytest.mark.parametrize(
    ("missing", "reason"), [("vocab.json", "ModelMissing"), ("model.pth", "ModelMissing"), ("speakers", "ModelInvalid")]
)
def test_what_is_missing_is_named(bundle: Path, tmp_path: Path, missing: str, reason: str) -> None:
    shutil.copytree(bundle, tmp_path / "m", ignore=shutil.ignore_patterns(f"{missing}*", "voices", "scratch"))
    with pytest.raises(StartupError, match=missing) as caught:
        make_engine(tmp_path / "m").load()
    assert caught.value.reason == reason


def test_the_server_gives_it_a_process(bundle: Path) -> None:
    settings = load_settings(model_name="x", model_path=bundle)
    made = main._engine(settings)
    assert isinstance(made, ProcessEngine)
    assert len(made._workers) == 1


def test_served_from_a_process(bundle: Path, engine: XttsEngine) -> None:
    pool = ProcessEngine(partial(make_engine, bundle), 1, one_thread)
    with running(pool, bundle) as server:
        body = {"input": "Hello there, my friend.", "voice": "Carl", "response_format": "pcm", "language": "en"}
        answer = server.client.post("/v1/audio/speech", json=body)
        assert answer.status_code == 200
        assert len(answer.content) / 48000 == pytest.approx(len(samples(engine, voice="Carl")) / 24000, rel=0.02)
        assert server.health()["workers"] == 1
