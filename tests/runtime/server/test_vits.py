"""VITS in slices: the same samples as whole, no seams, cancelled in mid-sentence; its languages, voices and words."""

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runtime.server import models
from tests.runtime.server.harness import running
from tests.runtime.server.test_coqui import loaded, speak
from voxraga_runtime.common.encoding import FORMATS
from voxraga_runtime.server.engines import hifigan, vits
from voxraga_runtime.server.engines.base import Chunk, Utterance
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.render import Speech, render

LONG = "Hello world, this is a test of the voice, and it goes on for a while so that there are several slices of it."
# coqui's own decoder, which looks farther than the tiny one: kernels up to 11, dilated
USUAL = {
    "upsample_rates_decoder": [8, 8, 2],
    "upsample_kernel_sizes_decoder": [16, 16, 4],
    "resblock_kernel_sizes_decoder": [3, 7, 11],
    "resblock_dilation_sizes_decoder": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}


def chunks(engine: CoquiEngine, text: str = LONG, **changes: Any) -> list[Chunk]:
    voice = changes.pop("voice", engine.voices()[0].id)
    return list(engine.synthesize(Utterance((text,), voice, **changes), lambda: False))


@pytest.mark.parametrize("decoder", [None, USUAL])
def test_slices_are_the_whole(decoder: dict[str, Any] | None, tmp_path: Path) -> None:
    """Against coqui's own inference with the same noise: every sample, those at the seams included."""
    engine = loaded(models.vits(tmp_path / "m", decoder=decoder))
    tokens = torch.tensor([engine._model.tokenizer.text_to_ids(LONG, language="en-us")])
    conditions = engine._conditions(tokens, "default", "en-us")
    with torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(3)
        whole = engine._model.inference(tokens, conditions)["model_outputs"][0, 0].numpy()
        torch.manual_seed(3)
        made = vits.latents(engine._model, tokens, conditions, 1.0)
        decoder = engine._model.waveform_decoder

        def alone(z: torch.Tensor, g: torch.Tensor | None, layout: hifigan.Layout) -> torch.Tensor:
            return hifigan.run(decoder, z, g, layout)[0]

        cuts = vits.slices(made.z.shape[-1], streamed=True)
        pieces = [vits.decode(decoder, made, cut, alone).numpy() for cut in cuts]
    sliced = np.concatenate(pieces)
    assert len(pieces) > 3
    assert len(sliced) == len(whole)
    peak = np.abs(whole).max()
    assert np.abs(sliced - whole).max() / peak <= 1e-5
    seams = np.cumsum([len(p) for p in pieces])[:-1]
    steps = np.abs(np.diff(sliced))  # a click is a step that the voice itself doesn't make
    assert steps[seams - 1].max() <= np.abs(np.diff(whole)).max() * 1.001


@pytest.mark.parametrize("frames", [1, 15, 16, 17, 24, 25, 100, 1000, 5000])
@pytest.mark.parametrize("streamed", [True, False])
def test_slices_cover_everything_once_and_grow(frames: int, streamed: bool) -> None:
    cuts = vits.slices(frames, streamed=streamed)
    assert [s for s, _ in cuts] == [0, *(e for _, e in cuts[:-1])]
    assert cuts[-1][1] == frames
    lengths = [e - s for s, e in cuts]
    assert min(lengths) >= min(frames, vits.EDGE)
    assert max(lengths) < vits.LARGEST_SLICE + vits.EDGE
    if streamed:
        assert lengths[0] < vits.FIRST_SLICE + vits.EDGE
        assert all(b <= a * vits.GROWTH + vits.QUANTUM for a, b in itertools.pairwise(lengths))


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_listener_never_waits(share: float) -> None:
    """Ten sentences on one core that makes all of it in a share of its length: each slice is there in time.

    What a slice costs, in frames: as measured (docs/bench.md), 9 more than it has; a sentence's latents cost 15.
    """
    sentences = [vits.slices(frames, streamed=True) for frames in (237, 171, 240, 200, 160, 210, 180, 170, 230, 140)]
    costs = [[15 * (start == 0) + 9 + end - start for start, end in cuts] for cuts in sentences]
    played = sum(cuts[-1][1] for cuts in sentences)
    speed = share * played / sum(map(sum, costs))  # frames of audio for each frame of cost
    made = costs[0][0] * speed
    heard = made
    for cuts, cost in zip(sentences, costs, strict=True):
        for (start, end), each in zip(cuts, cost, strict=True):
            if (cuts, start) != (sentences[0], 0):
                made += each * speed
                assert made <= heard
            heard += end - start


@pytest.mark.parametrize("decoder", [None, USUAL])
def test_any_part_is_that_part_of_the_whole(decoder: dict[str, Any] | None, tmp_path: Path) -> None:
    """Wherever it is cut, at and near the sentence's ends, of any length, and whatever lies outside its reach."""
    made = loaded(models.vits(tmp_path / "m", decoder=decoder))._model.waveform_decoder
    z = torch.randn(1, 16, 90, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = made(z)[0, 0]
        hop = len(whole) // 90
        for start, end in [(0, 90), (0, 1), (89, 90), (0, 24), (5, 9), (40, 41), (30, 70), (60, 90)]:
            (left, right), layout = hifigan.layout(made, start, end, 90)
            part = hifigan.run(made, z[:, :, left:right], None, layout)[0]
            assert float((part - whole[start * hop : end * hop]).abs().max() / whole.abs().max()) <= 1e-5


def test_windows_inside_a_sentence_have_one_layout(tmp_path: Path) -> None:
    decoder = loaded(models.vits(tmp_path / "m", decoder=USUAL))._model.waveform_decoder
    layouts = {hifigan.layout(decoder, start, start + 40, 400)[1] for start in (40, 100, 333)}
    assert len(layouts) == 1
    (left, right), _ = hifigan.layout(decoder, 100, 140, 400)
    assert 12 <= 100 - left == right - 140 <= 16  # what a sample of coqui's usual decoder depends on


def test_folded_weights_are_the_same_weights(vits_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folded = speak(loaded(vits_bundle), (LONG,))
    monkeypatch.setattr(hifigan, "fold_weights", lambda _: None)
    np.testing.assert_array_equal(folded, speak(loaded(vits_bundle), (LONG,)))


def test_the_engine_streams_slices(vits_bundle: Path) -> None:
    engine = loaded(vits_bundle)
    assert engine.capabilities.streaming == "slice"
    made = chunks(engine, streamed=True)
    assert len(made) > 3
    assert [c.final for c in made] == [False] * (len(made) - 1) + [True]
    whole = np.concatenate([c.samples for c in chunks(engine)])
    streamed = np.concatenate([c.samples for c in made])
    assert np.abs(streamed - whole).max() <= 1e-4 * np.abs(whole).max()


def test_streamed_audio_is_the_whole_audio(vits_bundle: Path) -> None:
    """Through the fades, one gain, the resampler and the encoder: equal to the last bit but one."""
    engine = loaded(vits_bundle)
    parts: dict[bool, list[bytes]] = {True: [], False: []}
    for streamed, put in parts.items():
        said = Utterance((LONG, "And more."), "anna", streamed=streamed)
        render(engine, Speech(said, FORMATS["pcm"], 24000, streamed), 3.0, put.append, lambda: False)
    assert len(parts[True]) > len(parts[False])
    one, other = (np.frombuffer(b"".join(p), "<i2").astype(int) for p in parts.values())
    assert len(one) == len(other)
    assert np.abs(one - other).max() <= 1


def test_cancelled_within_a_sentence(vits_bundle: Path) -> None:
    stop = threading.Event()
    spoken = loaded(vits_bundle).synthesize(Utterance((LONG, LONG), "anna", streamed=True), stop.is_set)
    assert [next(spoken).final for _ in range(2)] == [False, False]
    stop.set()
    assert list(spoken) == []


def test_cancelled_within_a_slice(vits_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, stop = loaded(vits_bundle), threading.Event()
    block = engine._model.waveform_decoder.resblocks[1]
    forward, later = block.forward, engine._model.waveform_decoder.resblocks[2]
    monkeypatch.setattr(block, "forward", lambda x: (stop.set(), forward(x))[1])
    monkeypatch.setattr(later, "forward", lambda _: pytest.fail("it went on"))
    assert list(engine.synthesize(Utterance((LONG,), "anna"), stop.is_set)) == []


def test_languages_by_id(tmp_path: Path) -> None:
    engine = loaded(models.vits(tmp_path / "m", ("anna", "bert"), languages=("de", "en")))
    assert engine.languages == ("de", "en")
    german, again, english = (speak(engine, language=name) for name in ("de", "de", "en"))
    np.testing.assert_array_equal(german, again)
    assert len(german) != len(english) or not np.array_equal(german, english)


def test_voices_by_vectors(tmp_path: Path) -> None:
    engine = loaded(models.vits(tmp_path / "m", ("anna", "bert"), d_vectors=True))
    assert [v.id for v in engine.voices()] == ["anna", "bert"]
    anna, again, bert = (speak(engine, voice=name) for name in ("anna", "anna", "bert"))
    np.testing.assert_array_equal(anna, again)
    assert len(anna) != len(bert) or not np.array_equal(anna, bert)


@pytest.mark.parametrize("bundle", ["speedy_bundle", "vits_bundle"])
@pytest.mark.parametrize("speed", [1.0, 1.7])
def test_words_lie_in_the_audio(bundle: str, speed: float, request: pytest.FixtureRequest) -> None:
    engine = loaded(request.getfixturevalue(bundle))
    assert engine.capabilities.timestamps
    made = chunks(engine, "Hello world, this is (really) a test!", speed=speed, streamed=True)
    assert all(not c.words for c in made[1:])
    words = made[0].words
    assert [w.text for w in words] == ["Hello", "world", "this", "is", "really", "a", "test"]
    seconds = sum(len(c.samples) for c in made) / engine.sample_rate
    assert all(w.start < w.end for w in words)
    assert all(a.end <= b.start + 1e-6 for a, b in itertools.pairwise(words))
    assert words[0].start < 0.2 * seconds
    assert seconds * 0.7 < words[-1].end <= seconds + 0.02


def test_words_count_from_the_audios_start(vits_bundle: Path) -> None:
    engine = loaded(vits_bundle)
    speech = Speech(Utterance(("One two.", "Three four."), "anna"), FORMATS["pcm"], 24000, streamed=False)
    result = render(engine, speech, 1.0, lambda _: None, lambda: False)
    assert [w.text for w in result.words] == ["One", "two", "Three", "four"]
    first = sum(len(c.samples) for c in chunks(engine, "One two.")) / engine.sample_rate
    assert result.words[1].end <= first + 0.01
    assert result.words[2].start >= first
    assert result.words[3].end <= result.audio_seconds + 0.01


def test_one_sentence_is_streamed_over_http(vits_bundle: Path) -> None:
    """By default where the format streams: several parts, together what the whole answer is."""
    body = {"input": LONG, "response_format": "pcm", "voice": "anna"}
    with running(lambda: CoquiEngine(vits_bundle), vits_bundle) as server:
        with server.client.stream("POST", "/v1/audio/speech", json=body) as answer:
            assert "content-length" not in answer.headers
            streamed = b"".join(answer.iter_bytes())
        whole = server.client.post("/v1/audio/speech", json={**body, "stream": False})
        assert int(whole.headers["content-length"]) == len(streamed)
    one, other = (np.frombuffer(data, "<i2").astype(int) for data in (streamed, whole.content))
    assert np.abs(one - other).max() <= 1
