"""Ready means heard: silent, broken, too short and endless voices are refused."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.runtime.server.engine import RATE, ToneEngine
from voxraga_runtime.common.audio import SPEECH_LEVEL, speech_rms
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines.base import Chunk
from voxraga_runtime.server.warmup import warm_up


def test_gain_is_one_level_for_every_voice(tones: ToneEngine) -> None:
    tones.level = 4.0  # a Griffin-Lim voice without a scale
    gains = warm_up(tones, "high", "en")
    assert set(gains) == {"low", "high"}
    sound = np.full(RATE, tones.level / 2**0.5, dtype=np.float32) * np.float32(gains["low"])
    assert speech_rms(sound, RATE) == pytest.approx(SPEECH_LEVEL, rel=0.04)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (lambda: np.zeros(RATE * 3, dtype=np.float32), "silent"),
        (lambda: np.full(RATE * 3, np.nan, dtype=np.float32), "NaN"),
        (lambda: np.ones(100, dtype=np.float32), "expected"),
        (lambda: np.ones(RATE * 200, dtype=np.float32), "expected"),
        (lambda: np.zeros(0, dtype=np.float32), "expected"),
        (lambda: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_is_not_speech_is_refused(
    samples: Callable[[], np.ndarray], told: str, tones: ToneEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tones, "synthesize", lambda *_: iter([Chunk(samples(), 0)]))
    with pytest.raises(StartupError) as caught:
        warm_up(tones, "low", "en")
    assert caught.value.reason == "WarmupFailed"
    assert told in caught.value.message
