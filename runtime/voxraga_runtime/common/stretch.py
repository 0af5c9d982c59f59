"""Speed for models that have none of their own: WSOLA changes the pace and keeps the pitch."""

import numpy as np

from voxraga_runtime.common.audio import FloatArray

WINDOW_SECONDS = 0.030  # two to six pitch periods of a voice
SEARCH_SECONDS = 0.010  # one period of a low voice: enough to find the place that continues the wave


def stretch(samples: FloatArray, speed: float, rate: int) -> FloatArray:
    """Samples that take len / speed, same pitch (waveform-similarity overlap-add, Verhelst and Roelands 1993)."""
    hop = round(WINDOW_SECONDS * rate / 2)
    reach = round(SEARCH_SECONDS * rate)
    if speed == 1.0 or len(samples) < 4 * hop:
        return samples
    length = round(len(samples) / speed)
    padded = np.pad(samples, (reach, 2 * hop + 2 * reach))
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    out = np.zeros(length + 3 * hop, dtype=np.float32)
    weight = np.zeros_like(out)
    position = 0
    for start in range(0, length + hop, hop):
        source = min(round(start * speed), len(samples) - 1)
        if start:
            expected = padded[position + hop : position + 2 * hop]  # what followed the piece before
            source = max(0, source + _best_shift(padded[source : source + hop + 2 * reach], expected) - reach)
        position = source + reach
        piece = padded[position : position + 2 * hop]
        out[start : start + len(piece)] += piece * window[: len(piece)]
        weight[start : start + len(piece)] += window[: len(piece)]
        position = min(position, len(padded) - 2 * hop)
    return (out / np.maximum(weight, 1e-7))[:length].astype(np.float32)


def _best_shift(area: FloatArray, expected: FloatArray) -> int:
    """Where in `area` the wave is most like `expected` (normalised cross-correlation)."""
    if len(area) < len(expected) or not expected.any():
        return (len(area) - len(expected)) // 2 if len(area) > len(expected) else 0
    products = np.correlate(area, expected, "valid")
    energy = np.cumsum(np.concatenate([[0.0], np.square(area, dtype=np.float64)]))
    norms = np.sqrt(np.maximum(energy[len(expected) :] - energy[: -len(expected)], 1e-9))
    return int(np.argmax(products / norms))
