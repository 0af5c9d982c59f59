"""WSOLA: the length changes, the pitch and the level don't."""

import numpy as np
import pytest

from voxraga_runtime.common.audio import rms
from voxraga_runtime.common.stretch import stretch

RATE = 22050


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_stretch_keeps_pitch_and_level(speed: float) -> None:
    sound = (0.3 * np.sin(2 * np.pi * 150 * np.arange(RATE * 2) / RATE)).astype(np.float32)
    changed = stretch(sound, speed, RATE)
    assert len(changed) == pytest.approx(len(sound) / speed, rel=0.001)
    spectrum = np.abs(np.fft.rfft(changed * np.hanning(len(changed))))
    assert np.argmax(spectrum) * RATE / len(changed) == pytest.approx(150, abs=2)
    assert rms(changed) == pytest.approx(rms(sound), rel=0.03)
    assert np.abs(np.diff(changed)).max() < 1.2 * np.abs(np.diff(sound)).max()  # no clicks


def test_too_short_to_stretch_is_left_alone() -> None:
    short = np.ones(100, dtype=np.float32)
    assert stretch(short, 2.0, RATE) is short
