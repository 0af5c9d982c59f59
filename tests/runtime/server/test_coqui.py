"""coqui models by the real loading code: tiny ones with random weights."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runtime.server import models
from tests.runtime.server.harness import running
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines.base import Utterance
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.warmup import warm_up

TEXT = ("Hello world, this is a test of the voice.",)


def loaded(path: Path) -> CoquiEngine:
    engine = CoquiEngine(path)
    engine.load()
    return engine


def speak(engine: CoquiEngine, text: tuple[str, ...] = TEXT, **changes: Any) -> np.ndarray:
    voice = changes.pop("voice", engine.voices()[0].id)
    return np.concatenate([c.samples for c in engine.synthesize(Utterance(text, voice, **changes), lambda: False)])


@pytest.mark.parametrize("bundle", ["speedy_bundle", "vits_bundle", "glow_bundle"])
def test_every_family_speaks(bundle: str, request: pytest.FixtureRequest) -> None:
    engine = loaded(request.getfixturevalue(bundle))
    gains = warm_up(engine, engine.voices()[0].id, engine.languages[0])
    samples = speak(engine)
    assert samples.dtype == np.float32
    assert engine.sample_rate == 16000
    assert np.isfinite(samples).all()
    assert set(gains) == {v.id for v in engine.voices()}
    assert engine.languages == ("en-us",)


@pytest.mark.parametrize("bundle", ["speedy_bundle", "vits_bundle"])
@pytest.mark.parametrize("speed", [0.5, 0.7, 1.3, 2.0])
def test_speed_is_exact(bundle: str, speed: float, request: pytest.FixtureRequest) -> None:
    engine = loaded(request.getfixturevalue(bundle))
    assert engine.capabilities.speed
    assert len(speak(engine, speed=speed)) == pytest.approx(len(speak(engine)) / speed, rel=0.02)


@pytest.mark.parametrize("bundle", ["speedy_bundle", "vits_bundle", "glow_bundle"])
@pytest.mark.parametrize("text", ["A.", "Hi.", "5.", "abcde " * 30])
def test_any_length_is_spoken(bundle: str, text: str, request: pytest.FixtureRequest) -> None:
    assert len(speak(loaded(request.getfixturevalue(bundle)), (text,)))


def test_a_vocoder_takes_over_with_its_own_rate(tmp_path: Path) -> None:
    plain = loaded(models.speedy_speech(tmp_path / "m"))
    seconds = len(speak(plain)) / plain.sample_rate
    models.add_vocoder(tmp_path / "m")
    engine = loaded(tmp_path / "m")
    assert engine.sample_rate == 22050
    samples = speak(engine)
    assert len(samples) / engine.sample_rate == pytest.approx(seconds, rel=0.05)
    assert np.abs(samples).max() > 0


def test_tacotron_keeps_state_so_it_gets_one_worker(tmp_path: Path) -> None:
    engine = loaded(models.tacotron2(tmp_path / "m"))
    assert not engine.capabilities.reentrant
    assert not engine.capabilities.speed
    first, same, other = (speak(engine, ("Hello.",), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)  # its dropout comes from the request's seed
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_unknown_characters_make_no_error(speedy_bundle: Path) -> None:
    engine = loaded(speedy_bundle)
    assert list(engine.synthesize(Utterance(("東京",), "anna"), lambda: False)) == []


@pytest.mark.parametrize("bundle", ["speedy_bundle", "vits_bundle"])
def test_voices_differ(bundle: str, request: pytest.FixtureRequest) -> None:
    engine = loaded(request.getfixturevalue(bundle))
    one, other = (speak(engine, voice=v.id) for v in engine.voices())
    n = min(len(one), len(other))
    assert not np.array_equal(one[:n], other[:n])


@pytest.mark.parametrize("bundle", ["speedy_bundle", "vits_bundle", "glow_bundle"])
def test_parallel_requests_equal_serial_ones(bundle: str, request: pytest.FixtureRequest) -> None:
    """Texts, voices, speeds and seeds mixed over six threads: each gets, sample by sample, what it gets alone."""
    engine = loaded(request.getfixturevalue(bundle))
    voices = [v.id for v in engine.voices()]
    texts = ("Hello there.", "A somewhat longer sentence, for a change.", "Numbers one two three four.")
    asks = [
        Utterance((texts[i % 3], texts[(i + 1) % 3]), voices[i % len(voices)], speed=(1.0, 0.7, 1.6)[i % 3], seed=i % 4)
        for i in range(12)
    ]

    def one(ask: Utterance) -> np.ndarray:
        torch.set_num_threads(1)
        return np.concatenate([c.samples for c in engine.synthesize(ask, lambda: False)])

    alone = [one(ask) for ask in asks]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(one, asks))
    for expected, got in zip(alone, together, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_seeds_make_the_noise(vits_bundle: Path) -> None:
    engine = loaded(vits_bundle)
    first, same, other = (speak(engine, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_cancelled_speech_ends_at_the_next_sentence(speedy_bundle: Path) -> None:
    engine, stop = loaded(speedy_bundle), threading.Event()
    chunks = engine.synthesize(Utterance(("One.", "Two.", "Three."), "anna"), stop.is_set)
    assert next(chunks).sentence == 0
    stop.set()
    assert list(chunks) == []


def test_half_precision_weights_are_loaded_into_float32(tmp_path: Path, speedy_bundle: Path) -> None:
    half = loaded(models.speedy_speech(tmp_path / "half", ("anna", "bert"), half=True))
    assert {p.dtype for p in half._model.parameters()} == {torch.float32}
    full = speak(loaded(speedy_bundle))
    assert len(speak(half)) == pytest.approx(len(full), rel=0.05)


def test_bundle_is_only_read(speedy_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    shutil.copytree(speedy_bundle, path)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    speak(loaded(path))
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


class _Malicious:
    def __reduce__(self) -> Any:
        return (open, ("/tmp/voxraga-was-here", "w"))


@pytest.mark.parametrize(
    ("damage", "reason", "told"),
    [
        (lambda f: (f / "model.pth").unlink(), "ModelMissing", "no model.pth"),
        (lambda f: (f / "config.json").unlink(), "ModelMissing", "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "ModelInvalid", "not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "ModelInvalid", "not an object"),
        (lambda f: (f / "model.pth").write_bytes(b"junk"), "ModelInvalid", "unpack"),
        (lambda f: torch.save({"model": _Malicious()}, f / "model.pth"), "ModelInvalid", "eights"),
        (lambda f: torch.save({"model": {}}, f / "model.pth"), "ModelInvalid", "Missing key"),
    ],
)
def test_a_damaged_bundle_says_what_is_wrong(
    speedy_bundle: Path, tmp_path: Path, damage: Any, reason: str, told: str
) -> None:
    shutil.copytree(speedy_bundle, tmp_path / "m")
    damage(tmp_path / "m" / "files")
    with pytest.raises(StartupError) as caught:
        loaded(tmp_path / "m")
    assert (caught.value.reason, told in caught.value.message) == (reason, True), caught.value.message


def test_no_gpu_is_said(speedy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StartupError, match="no GPU") as caught:
        CoquiEngine(speedy_bundle, "cuda").load()
    assert caught.value.reason == "DeviceUnavailable"


def test_served_over_http_in_parallel(speedy_bundle: Path) -> None:
    """Twelve clients at once, mixed voices and speeds: the bytes that each gets alone."""
    bodies = [
        {
            "input": f"Sentence number {i}. And another one.",
            "voice": ("anna", "bert")[i % 2],
            "speed": (1.0, 1.5)[i % 2],
            "response_format": "wav",
        }
        for i in range(12)
    ]
    with running(lambda: CoquiEngine(speedy_bundle), speedy_bundle, max_concurrency=4) as server:

        def one(body: dict[str, Any]) -> bytes:
            return server.client.post("/v1/audio/speech", json=body).content

        alone = [one(body) for body in bodies]
        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(one, bodies)) == alone
    assert len({len(a) for a in alone}) > 1
