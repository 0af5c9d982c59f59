"""XTTS by the real loading code: voices, languages, streams, limits, and recordings that become voices."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runtime.server.harness import running
from tests.runtime.server.xtts import DIMENSION, make_engine, one_thread, record, xtts
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import main
from voxraga_runtime.server.engines.base import Chunk, Utterance
from voxraga_runtime.server.engines.growing import GrowingDecoder
from voxraga_runtime.server.engines.processes import ProcessEngine
from voxraga_runtime.server.engines.xtts import XttsEngine

pytestmark = pytest.mark.usefixtures("few_threads")

TEXT = ("Hello there, my friend.",)


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
    assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("speed", [1.0, 0.7, 1.5])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_decoded_while_it_grows_like_all_at_once(engine: XttsEngine, speed: float, size: int) -> None:
    """Against coqui's decoder: every sample, with a decoder that looks as far as XTTS's own."""
    decoder, speaker = engine._model.hifigan_decoder, engine._latents["Ana"][1]
    latents = torch.randn(1, 41, DIMENSION, generator=torch.Generator().manual_seed(3))
    seen: list[int] = []
    hook = decoder.waveform_decoder.conv_pre.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    growing = GrowingDecoder(decoder, speaker, speed)
    with torch.inference_mode():
        pieces = [growing.samples(latents[:, :n], final=n == 41) for n in [*range(size, 41, size), 41]]
        hook.remove()
        longer = latents
        if speed != 1.0:
            longer = torch.nn.functional.interpolate(latents.transpose(1, 2), scale_factor=1 / speed, mode="linear")
            longer = longer.transpose(1, 2)
        whole = decoder(longer, g=speaker).squeeze()
    made = torch.cat(pieces)
    assert made.shape == whole.shape
    assert float((made - whole).abs().max() / whole.abs().max()) <= 1e-5
    frames = len(whole) // decoder.output_hop_length
    assert sum(seen) <= frames + 2 * growing._ahead * len(seen)  # nothing is decoded again but the context


def test_the_same_speech_as_coquis_own(engine: XttsEngine) -> None:
    latent, speaker = engine._latents["Bo"]
    config = engine._model.config
    options = {name: getattr(config, name) for name in ("temperature", "top_k", "top_p")}
    options |= {"length_penalty": float(config.length_penalty), "repetition_penalty": float(config.repetition_penalty)}
    made = engine._model.inference_stream(TEXT[0], "en", latent, speaker, stream_chunk_size=0, **options)
    torch.manual_seed(7)
    whole = torch.cat([piece.reshape(-1) for piece in made]).numpy()
    ours = samples(engine, voice="Bo", seed=7)
    assert len(ours) == len(whole)
    assert np.abs(ours - whole).max() <= 1e-5 * np.abs(whole).max()


def test_the_work_grows_with_the_length_alone(engine: XttsEngine) -> None:
    decoder, speaker = engine._model.hifigan_decoder, engine._latents["Ana"][1]
    seen: list[int] = []
    hook = decoder.waveform_decoder.conv_pre.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    growing = GrowingDecoder(decoder, speaker, 1.0)
    with torch.inference_mode():
        for n in range(20, 401, 20):
            growing.samples(torch.zeros(1, n, DIMENSION), final=n == 400)
    hook.remove()
    assert max(seen[1:-1]) - min(seen[1:-1]) <= 1  # frames aren't a whole number for each latent


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
    made: list[Chunk] = []
    made.extend(engine.synthesize(Utterance(TEXT * 2, "Ana", "en", streamed=True), lambda: bool(made)))
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
