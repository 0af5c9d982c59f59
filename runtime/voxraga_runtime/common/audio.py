"""Samples: float32 mono arrays of shape [n], full scale 1.0; level, limiting, fades, resampling, measuring."""

import numpy as np
import numpy.typing as npt
import soxr

FloatArray = npt.NDArray[np.float32]

KNEE = 0.85  # below this the limiter changes nothing; -1.4 dBFS
CEILING = 0.985  # above this no sample goes; -0.13 dBFS leaves room for what lossy codecs and resampling overshoot
FADE_SECONDS = 0.004
SPEECH_LEVEL = 0.1  # RMS of the spoken parts, -20 dBFS: about what LJSpeech and the OpenAI voices have
FRAME_SECONDS = 0.02


def silence(seconds: float, rate: int) -> FloatArray:
    return np.zeros(round(seconds * rate), dtype=np.float32)


def limit(samples: FloatArray) -> FloatArray:
    """Bend what exceeds the knee towards the ceiling. Memoryless: streamed and whole output are the same."""
    size = np.abs(samples)
    room = CEILING - KNEE
    bent = KNEE + room * np.tanh((size - KNEE) / room)
    return np.where(size > KNEE, np.copysign(bent, samples), samples).astype(np.float32)


def fade_edges(samples: FloatArray, rate: int, *, start: bool = True, end: bool = True) -> FloatArray:
    """Raised-cosine fades, so that a sentence never begins or ends with a step (a click)."""
    n = min(round(FADE_SECONDS * rate), len(samples) // 2)
    if n == 0:
        return samples
    faded = samples.copy()
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)
    if start:
        faded[:n] *= ramp
    if end:
        faded[-n:] *= ramp[::-1]
    return faded


def rms(samples: FloatArray) -> float:
    """Root mean square; 0.0 of nothing."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def speech_rms(samples: FloatArray, rate: int) -> float:
    """RMS of the spoken frames: those within 30 dB of the loudest, so that pauses don't count."""
    frame = max(1, round(FRAME_SECONDS * rate))
    whole = samples[: len(samples) // frame * frame].reshape(-1, frame)
    if not len(whole):
        return rms(samples)
    powers = np.mean(np.square(whole, dtype=np.float64), axis=1)
    return float(np.sqrt(np.mean(powers[powers >= powers.max() * 1e-3])))


def gain_for(samples: FloatArray, rate: int) -> float:
    """The factor that brings this recording to SPEECH_LEVEL, in steps of half a decibel.

    The steps make it the same on every machine, whatever the last bit of its arithmetic: pods answer alike.
    """
    level = speech_rms(samples, rate)
    if level <= 0:
        return 1.0
    decibels = 20 * np.log10(SPEECH_LEVEL / level)
    return float(10 ** (np.round(decibels * 2) / 2 / 20))


def to_pcm16(samples: FloatArray) -> bytes:
    """Signed 16 bit, little-endian."""
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()


class ResampleStream:
    """Band-limited resampling of a stream (soxr): feed pieces, get pieces; no seams between them."""

    def __init__(self, source: int, target: int) -> None:
        self._stream = None if source == target else soxr.ResampleStream(source, target, 1, dtype="float32")

    def feed(self, samples: FloatArray) -> FloatArray:
        return samples if self._stream is None else self._resample(samples, last=False)

    def finish(self) -> FloatArray:
        """What the filter still holds."""
        empty = np.zeros(0, dtype=np.float32)
        return empty if self._stream is None else self._resample(empty, last=True)

    def _resample(self, samples: FloatArray, *, last: bool) -> FloatArray:
        assert self._stream is not None
        return np.asarray(self._stream.resample_chunk(samples, last=last), dtype=np.float32)
