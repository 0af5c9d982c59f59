"""Decode whatever the server sends, and measure it: level, clipping, clicks, hum, silence."""

import io
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt

Mono = npt.NDArray[np.float32]


def read(data: bytes) -> tuple[Mono, int]:
    """Decode wav, flac, mp3, opus or aac to (mono samples in -1..1, sample rate in Hz)."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
        frames = [f for packet in container.demux(stream) for f in packet.decode()]
        chunks = [r.to_ndarray().reshape(-1) for f in [*frames, None] for r in resampler.resample(f)]
        return np.concatenate(chunks).astype(np.float32), int(stream.rate)


def read_pcm(data: bytes, rate: int) -> tuple[Mono, int]:
    """Headerless s16le mono, as OpenAI's `pcm` is."""
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768), rate


@dataclass(frozen=True)
class Measures:
    """What a listener would complain about, in figures."""

    seconds: float
    peak: float  # 0..1
    rms_dbfs: float  # of the voiced part
    clipped: int  # samples at full scale
    dc: float  # mean of the samples
    leading_silence: float  # seconds below -50 dBFS
    trailing_silence: float
    longest_gap: float  # seconds of silence inside
    worst_click: float  # the largest sample step over the 99.9th percentile of steps
    hum_db: float  # energy in 50/60 Hz and harmonics below 130 Hz, against the whole


def _windows(audio: Mono, rate: int, seconds: float = 0.01) -> Mono:
    size = int(rate * seconds)
    frames = audio[: len(audio) // size * size].reshape(-1, size)
    return np.asarray(np.sqrt((frames**2).mean(axis=1)), dtype=np.float32)


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def measure(audio: Mono, rate: int) -> Measures:
    """Measure a recording of speech (mono, -1..1)."""
    levels = _windows(audio, rate)
    voiced = np.flatnonzero(levels > 10 ** (-50 / 20))
    first, last = (int(voiced[0]), int(voiced[-1])) if len(voiced) else (len(levels), len(levels))
    inside = audio[first * rate // 100 : (last + 1) * rate // 100]
    steps = np.abs(np.diff(audio)) if len(audio) > 1 else np.zeros(1)
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    hertz = np.fft.rfftfreq(len(audio), 1 / rate)
    hum = sum(spectrum[(hertz > h - 3) & (hertz < h + 3)].sum() for h in (50, 60))
    return Measures(
        seconds=len(audio) / rate,
        peak=float(np.abs(audio).max()),
        rms_dbfs=float(20 * np.log10(np.sqrt((inside**2).mean()) + 1e-9)) if len(inside) else -180.0,
        clipped=int((np.abs(audio) >= 0.999).sum()),
        dc=float(audio.mean()),
        leading_silence=first / 100,
        trailing_silence=(len(levels) - 1 - last) / 100 if len(voiced) else len(levels) / 100,
        longest_gap=_longest_run(levels[first:last] <= 10 ** (-50 / 20)) / 100,
        worst_click=float(steps.max() / (np.percentile(steps, 99.9) + 1e-9)),
        hum_db=float(10 * np.log10(hum / (spectrum.sum() + 1e-12) + 1e-12)),
    )


def pitch(audio: Mono, rate: int) -> float:
    """The median fundamental in Hz, by autocorrelation over voiced 40 ms frames (70 to 350 Hz)."""
    size, low, high = int(rate * 0.04), int(rate / 350), int(rate / 70)
    found = []
    for start in range(0, len(audio) - size - high, size // 2):
        frame, longer = audio[start : start + size], audio[start : start + size + high]
        energy = float((frame**2).sum())
        if energy / size < 1e-3:
            continue
        lags = np.array([(frame * longer[lag : lag + size]).sum() for lag in range(low, high)])
        if lags.max() > 0.5 * energy:
            found.append(rate / (low + int(lags.argmax())))
    return float(np.median(found)) if found else 0.0
