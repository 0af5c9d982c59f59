"""Recordings beside a model with a speaker encoder (as YourTTS is): voices among its own."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.runtime.server import models
from tests.runtime.server.harness import running
from tests.runtime.server.test_coqui import loaded, speak
from tests.runtime.server.xtts import record
from voxraga_runtime.server.engines import dvectors
from voxraga_runtime.server.engines.base import Voice


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = models.vits(tmp_path / "m", ("anna", "bert"), d_vectors=True, encoder=True)
    clip = record(path, "Carl", rate=16000)
    record(path, "Carl", rate=16000, level=0.2)
    (clip.parent / "voice.json").write_text(json.dumps({"language": "en", "license": "CC0-1.0"}))
    record(path, "anna", rate=16000)  # a name that the model has already
    record(path, "quiet", level=0.0)
    return path


def test_a_recording_speaks_like_itself(bundle: Path) -> None:
    engine = loaded(bundle)
    assert engine.voices() == (Voice("anna"), Voice("bert"), Voice("Carl", "en", "recording", "CC0-1.0"))
    assert engine.capabilities.cloning
    anna, carl, again = (speak(engine, voice=name) for name in ("anna", "Carl", "Carl"))
    np.testing.assert_array_equal(carl, again)
    assert len(anna) != len(carl) or not np.array_equal(anna, carl)


def test_its_vector_is_the_mean_of_its_clips(bundle: Path) -> None:
    engine = loaded(bundle)
    encoder = engine._model.speaker_manager.encoder
    clips = [soundfile.read(clip, dtype="float32")[0] for clip in (bundle / "files/voices/Carl").glob("*.wav")]
    expected = torch.stack([encoder.compute_embedding(torch.from_numpy(clip)[None]) for clip in clips]).mean(dim=0)
    torch.testing.assert_close(engine._recorded[engine.voices()[2]], expected)
    assert (len(clips), expected.shape) == (2, (1, 16))


def test_it_is_computed_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = speak(loaded(bundle), voice="Carl")
    with monkeypatch.context() as patched:
        patched.setattr(dvectors, "_embedding", lambda *_: pytest.fail("computed again"))
        np.testing.assert_array_equal(speak(loaded(bundle), voice="Carl"), before)
    record(bundle, "Carl", rate=16000, seconds=2.5)  # another recording: another voice
    assert not np.array_equal(speak(loaded(bundle), voice="Carl"), before)


def test_listed_and_asked_for_like_the_others(bundle: Path) -> None:
    with running(loaded(bundle), bundle) as server:
        voices = server.client.get("/v1/audio/voices").json()["voices"]
        assert voices[2] == {
            "id": "Carl",
            "name": "Carl",
            "language": "en",
            "origin": "recording",
            "license": "CC0-1.0",
        }
        (model,) = server.client.get("/models").json()["models"]
        assert (model["voices"], model["capabilities"]["cloning"]) == (["anna", "bert", "Carl"], True)
        assert [v["origin"] for v in model["voice_details"]] == ["model", "model", "recording"]
        assert server.client.post("/synthesize", json={"text": "Hello.", "voice": "carl"}).status_code == 200


def test_without_its_encoder_a_model_has_its_own_voices_only(tmp_path: Path) -> None:
    path = models.vits(tmp_path / "m", ("anna", "bert"), d_vectors=True)
    record(path, "Carl")
    engine = loaded(path)
    assert [v.id for v in engine.voices()] == ["anna", "bert"]
    assert not engine.capabilities.cloning
