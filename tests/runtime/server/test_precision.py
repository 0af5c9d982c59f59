"""Half precision: refused where it doesn't hold, near to float32 where it does, and the same path as on a GPU."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import main
from voxraga_runtime.server.engines import hifigan, precision, vits
from voxraga_runtime.server.engines.base import Utterance
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.engines.precision import Precision, decoder_type


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that computes in it; torch does so anywhere, if slowly."""
    monkeypatch.setattr(precision, "_computes_bfloat16", lambda _: True)


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize(
    ("asked", "device", "type_"),
    [
        ("float32", "cpu", torch.float32),
        ("float32", "cuda", torch.float32),
        ("bfloat16", "cpu", torch.bfloat16),
        ("bfloat16", "cuda", torch.bfloat16),
        ("float16", "cuda", torch.float16),
    ],
)
def test_where_it_holds(asked: Precision, device: str, type_: torch.dtype) -> None:
    assert decoder_type(asked, device, "vits", holds=True) is type_


@pytest.mark.parametrize(
    ("asked", "device", "model", "told"),
    [
        ("float16", "cpu", "vits", "SettingsInvalid: .* is float16: .* set one of those"),
        ("bfloat16", "cpu", "vits", "DeviceUnavailable: .* is bfloat16: .*avx512_bf16, amx_bf16.*set float32"),
        ("bfloat16", "cuda", "vits", "DeviceUnavailable: .* is bfloat16: this GPU doesn't .*; set float16"),
        ("float16", "cuda", "glow_tts", "SettingsInvalid: .*glow_tts is served in float32 only; unset it"),
        ("bfloat16", "cpu", "glow_tts", "SettingsInvalid: .*glow_tts is served in float32 only; unset it"),
    ],
)
def test_where_it_does_not(
    asked: Precision, device: str, model: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_computes_bfloat16", lambda _: False)
    with pytest.raises(StartupError) as caught:
        decoder_type(asked, device, model, holds=model == "vits")
    assert re.match(told, f"{caught.value.reason}: {caught.value.message}")


def test_an_unknown_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="VOXRAGA_PRECISION is 'int8'"):
        load_settings(model_name="m", model_path=tmp_path, precision="int8")


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("task", ["TextToSpeech", "SpeechToText"])
def test_models_that_have_only_float32_do_not_start(task: str, glow_bundle: Path) -> None:
    settings = load_settings(model_name="m", model_path=glow_bundle, task=task, precision="bfloat16")
    with pytest.raises(StartupError, match="served in float32 only") as caught:
        main._engine(settings).load()
    assert caught.value.reason == "SettingsInvalid"


def decibels(signal: np.ndarray, other: np.ndarray) -> float:
    """Signal to noise, where the noise is the difference."""
    return float(10 * np.log10(np.square(signal).sum() / np.square(signal - other).sum()))


def spoken(engine: CoquiEngine, seed: int = 1) -> np.ndarray:
    said = Utterance(("Half as many bits.",), engine.voices()[0].id, seed=seed, streamed=True)
    return np.concatenate([chunk.samples for chunk in engine.synthesize(said, lambda: False)])


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("batch", [1, 16])
def test_vits_in_bfloat16_says_the_same(batch: int, vits_bundle: Path) -> None:
    """As long as in float32 and nearly the same samples, alone and through the batches that a GPU has."""
    full, half = CoquiEngine(vits_bundle), CoquiEngine(vits_bundle, max_batch=batch, precision="bfloat16")
    full.load()
    half.load()
    wanted, got = spoken(full), spoken(half)
    half.close()
    assert len(got) == len(wanted)
    assert decibels(wanted, got) >= 20


@pytest.fixture(scope="module")
def decoder(vits_bundle: Path) -> Any:
    engine = CoquiEngine(vits_bundle)
    engine.load()
    return engine._model.waveform_decoder


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_a_batch_of_any_size_is_its_rows(size: int, kind: torch.dtype, decoder: Any) -> None:
    """What runs on a GPU, with the tensors of a CPU: windows and speakers of their own, in each type of number."""
    decoder = copy.deepcopy(decoder).to(kind)
    draw = torch.Generator().manual_seed(size)
    (left, right), layout = hifigan.layout(decoder, 20, 28, 80)
    windows = [
        (torch.randn(1, 16, right - left, generator=draw), torch.randn(1, 16, 1, generator=draw)) for _ in range(size)
    ]
    rows = vits.decode_together(decoder, layout, list(windows))
    assert len(rows) == size
    for (z, g), row in zip(windows, rows, strict=True):
        with torch.inference_mode():
            alone = hifigan.run(decoder, z, g, layout)[0]
        assert row.dtype is kind
        error = float((row - alone).float().abs().max() / alone.float().abs().max())
        assert error <= (1e-5 if kind is torch.float32 else 0.05)
