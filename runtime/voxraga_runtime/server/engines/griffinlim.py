"""Spectrogram to samples without a vocoder: fast Griffin-Lim on torch, with coqui's own scaling undone.

Measured on recorded speech (16 kHz, 80 mels, one thread), error of the mel spectrogram of the result:

    coqui's way (pseudo-inverse, 60 iterations)     0.1025   5.7 % of real time
    this one (ISRA 20, 30 iterations, momentum)     0.0869   3.4 %
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from voxraga_runtime.server.engines.base import FloatArray

MOMENTUM = 0.99  # Perraudin, Balazs, Søndergaard 2013: with it, half the iterations give more
INVERSION_STEPS = 20  # ISRA; 60 gain another 0.0008 for three times the work
TINY = 1e-12


class GriffinLim:
    """Turns one model's normalised mel (or linear) spectrograms into samples; safe to share between threads.

    `processor` is the model's coqui AudioProcessor, whose settings (levels, power, window, iterations) it takes over.
    """

    def __init__(self, processor: Any, device: str = "cpu", *, linear: bool = False) -> None:
        self._ap = processor
        self._linear = linear
        self._basis = torch.as_tensor(processor.mel_basis, dtype=torch.float32, device=device)
        self._inverse: torch.Tensor = torch.linalg.pinv(self._basis)
        self._window = torch.hann_window(processor.win_length, device=device)
        self._iterations = max(16, processor.griffin_lim_iters // 2)

    def __call__(
        self, spectrogram: torch.Tensor, generator: torch.Generator, check: Callable[[], None] = lambda: None
    ) -> FloatArray:
        """`spectrogram` is [frames, bins] as the model gives it; the result has (frames - 1) * hop samples.

        `check` is called in every iteration, and may raise.
        """
        frames = spectrogram.shape[0]
        if frames < 2:  # noqa: PLR2004 - one frame spans no time
            return np.zeros(0, dtype=np.float32)
        levels = self._ap.denormalize(spectrogram.T.float().cpu().numpy())
        amplitudes = np.power(float(self._ap.base), levels / self._ap.spec_gain).astype(np.float32)
        magnitudes = torch.from_numpy(amplitudes).to(self._window.device)
        if not self._linear:
            magnitudes = self._mel_to_linear(magnitudes)
        samples = self._find_phases(magnitudes**self._ap.power, generator, check).cpu().numpy()
        if self._ap.preemphasis:
            samples = self._ap.apply_inv_preemphasis(samples)
        return np.asarray(samples, dtype=np.float32)

    def _mel_to_linear(self, mel: torch.Tensor) -> torch.Tensor:
        """The non-negative spectrum whose mels are nearest (ISRA); the pseudo-inverse alone leaves holes and rings."""
        spectrum = (self._inverse @ mel).clamp_min(1e-6)
        wanted = self._basis.T @ mel
        for _ in range(INVERSION_STEPS):
            spectrum = spectrum * wanted / (self._basis.T @ (self._basis @ spectrum)).clamp_min(TINY)
        return spectrum

    def _find_phases(
        self, magnitudes: torch.Tensor, generator: torch.Generator, check: Callable[[], None]
    ) -> torch.Tensor:
        noise = torch.rand(magnitudes.shape, generator=generator, device=generator.device).to(magnitudes.device)
        phases = torch.polar(torch.ones_like(noise), 2 * torch.pi * noise)
        previous = torch.zeros_like(phases)
        for _ in range(self._iterations):
            check()
            rebuilt = self._stft(self._istft(magnitudes * phases), magnitudes.shape[1])
            moved = rebuilt - previous * (MOMENTUM / (1 + MOMENTUM))
            previous = rebuilt
            phases = moved / (moved.abs() + TINY)
        return self._istft(magnitudes * phases)

    def _istft(self, spectrum: torch.Tensor) -> torch.Tensor:
        ap = self._ap
        samples: torch.Tensor = torch.istft(spectrum, ap.fft_size, ap.hop_length, ap.win_length, self._window)
        return samples

    def _stft(self, samples: torch.Tensor, frames: int) -> torch.Tensor:
        ap = self._ap
        # reflection needs more samples than half a window, which two frames don't have
        mode = "reflect" if samples.shape[-1] > ap.fft_size // 2 else "constant"
        spectrum = torch.stft(
            samples, ap.fft_size, ap.hop_length, ap.win_length, self._window, pad_mode=mode, return_complex=True
        )
        return spectrum[:, :frames]
