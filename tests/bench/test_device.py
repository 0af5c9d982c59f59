"""The bench of one device: what it prints without a GPU, and that its figures are of what was spoken."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bench import device
from tests.runtime.server import models


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.main("cuda", quick=True) == 0
    assert "GPU: not measured" in capsys.readouterr().out


def test_a_line_for_each_precision_and_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "ROUNDS", 1)
    lines = [line.split("|") for line in device.vits_table(models.vits(tmp_path / "m"), "cpu", (1, 2))]
    assert [(line[1].strip(), line[2].strip()) for line in lines[2:4]] == [("float32", "1"), ("float32", "2")]
    assert lines[2][5].strip() == "inf dB"
    assert "VOXRAGA_PRECISION is float16" in lines[-1][3]


def test_distances() -> None:
    tone = np.sin(np.arange(22050) * 0.2).astype(np.float32)
    assert device.snr(tone, tone * np.float32(0.9)) == pytest.approx(20, abs=0.1)
    assert device.distance(tone, tone) == 0
    assert device.distance(tone, tone * np.float32(0.1)) > 1
