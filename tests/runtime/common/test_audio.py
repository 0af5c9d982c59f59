"""Level, limiting, fades, resampling."""

import numpy as np
import pytest

from voxraga_runtime.common.audio import (
    CEILING,
    KNEE,
    SPEECH_LEVEL,
    ResampleStream,
    fade_edges,
    gain_for,
    limit,
    rms,
    speech_rms,
    to_pcm16,
)

RATE = 16000


def tone(seconds: float, hertz: float = 220.0, level: float = 0.5, rate: int = RATE) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_limiter_leaves_what_is_below_its_knee_alone() -> None:
    quiet = tone(0.1, level=KNEE)
    np.testing.assert_array_equal(limit(quiet), quiet)


@pytest.mark.parametrize("level", [0.9, 1.0, 3.0, 100.0])
def test_limiter_never_passes_its_ceiling_and_keeps_order(level: float) -> None:
    ramp = np.linspace(-level, level, 2001, dtype=np.float32)
    bent = limit(ramp)
    assert np.abs(bent).max() <= CEILING + 1e-6
    assert (np.diff(bent) >= 0).all()


def test_limiting_pieces_equals_limiting_the_whole() -> None:
    loud = tone(0.5, level=2.0)
    np.testing.assert_array_equal(np.concatenate([limit(p) for p in np.array_split(loud, 7)]), limit(loud))


def test_fades_touch_the_asked_edges_only() -> None:
    flat = np.ones(1000, dtype=np.float32)
    both = fade_edges(flat, RATE)
    assert both[0] < 0.01
    assert both[-1] < 0.01
    np.testing.assert_array_equal(both[64:-64], flat[64:-64])
    assert fade_edges(flat, RATE, end=False)[-1] == 1
    assert len(fade_edges(flat[:1], RATE)) == 1


@pytest.mark.parametrize("level", [0.001, 0.03, 0.5, 5.0])
def test_gain_brings_speech_to_one_level_whatever_its_pauses(level: float) -> None:
    speech = np.concatenate([tone(1, level=level), np.zeros(RATE * 2, dtype=np.float32), tone(1, level=level)])
    gained = speech_rms(speech * np.float32(gain_for(speech, RATE)), RATE)
    assert gained == pytest.approx(SPEECH_LEVEL, rel=0.04)  # half a step of half a decibel is 2.9 %


def test_gain_does_not_depend_on_the_last_bits() -> None:
    speech = tone(1, level=0.2)
    assert gain_for(speech, RATE) == gain_for(speech * np.float32(1.000001), RATE)


@pytest.mark.parametrize(("source", "target"), [(16000, 24000), (22050, 24000), (24000, 8000), (16000, 16000)])
def test_resampling_in_pieces_equals_the_whole(source: int, target: int) -> None:
    sound = tone(1.3, rate=source)
    once, pieces = ResampleStream(source, target), ResampleStream(source, target)
    whole = np.concatenate([once.feed(sound), once.finish()])
    parts = np.concatenate([*(pieces.feed(p) for p in np.array_split(sound, 9)), pieces.finish()])
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert len(whole) == pytest.approx(len(sound) * target / source, abs=2)
    assert rms(whole) == pytest.approx(rms(sound), rel=0.01)


def test_pcm16_is_little_endian_and_never_wraps() -> None:
    assert to_pcm16(np.array([0, 1, -1, 2, -2], dtype=np.float32)) == bytes.fromhex("0000ff7f0180ff7f0180")
