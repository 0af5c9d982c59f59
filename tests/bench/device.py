"""The engines alone on one device, a GPU above all: VITS by precision and batch, and an XTTS of the published size."""

import functools
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from tests.bench import model, xtts
from tests.bench.texts import load
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines.base import Engine, Utterance
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.engines.precision import Precision
from voxraga_runtime.server.engines.xtts import XttsEngine

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
BATCHES = (1, 2, 4, 8, 16)
ROUNDS = 3  # of as many sentences as are spoken at once
TOKENS = 100  # of XTTS's audio, 4.6 s
WINDOW, HOP = 1024, 256  # samples of a spectrum
FLOOR = 1e-5  # of a spectrum's amplitude: below that there is no sound

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of audio a second, the mean seconds to the first audio, and the samples of the first sentence."""

    speed: float
    first: float
    samples: Samples


def main(device: Literal["cpu", "cuda"], *, quick: bool) -> int:
    """Print a table for each model; where there is no such device, that nothing was measured."""
    if device == "cuda" and not torch.cuda.is_available():
        print("\nGPU: not measured (torch sees none).")
        return 0
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    with tempfile.TemporaryDirectory(prefix="voxraga-bench-") as scratch:
        model.write(Path(scratch) / "vits")
        print(f"\n### VITS, coqui's default size, random weights: {name}\n")
        print("\n".join(vits_table(Path(scratch) / "vits", device, BATCHES[:2] if quick else BATCHES)), flush=True)
        xtts.write(Path(scratch) / "xtts", TOKENS // 10 if quick else TOKENS)
        engine = XttsEngine(Path(scratch) / "xtts", device, Path(scratch) / "voices")
        engine.load()
        done = measure(engine, 1)
        print(f"\n### XTTS, published size, random weights, float32: {name}\n")
        print(f"{done.speed:.2f} s/s, first audio after {done.first * 1000:.0f} ms; one at a time for each process.")
    return 0


def vits_table(path: Path, device: Literal["cpu", "cuda"], batches: Sequence[int]) -> list[str]:
    """Markdown: a line for each precision that the device has, and each batch."""
    lines = ["| precision | batch | audio a second | first audio | SNR to float32 | log-spectral distance |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    reference: Samples | None = None
    for precision in PRECISIONS:
        for batch in batches:
            threads = torch.get_num_threads()
            engine = CoquiEngine(path, device, batch, threads, precision=precision)
            try:
                engine.load()
            except StartupError as error:
                lines.append(f"| {precision} | | {error.message} | | | |")
                break
            done = measure(engine, batch)
            engine.close()
            reference = done.samples if reference is None else reference
            near = f"{snr(reference, done.samples):.1f} dB | {distance(reference, done.samples):.2f} dB"
            lines.append(f"| {precision} | {batch} | {done.speed:.1f} s/s | {done.first * 1000:.0f} ms | {near} |")
    return lines


def measure(engine: Engine, at_once: int) -> Figures:
    """That many threads speak, each a sentence after another, after one that nobody counts."""
    speak = functools.partial(_speak, engine)
    warm = speak(load(1)[0])
    with ThreadPoolExecutor(at_once) as threads:
        started = time.perf_counter()
        done = list(threads.map(speak, load(at_once * ROUNDS)))
        wall = time.perf_counter() - started
    seconds = sum(len(samples) for _, samples in done) / engine.sample_rate
    return Figures(seconds / wall, sum(first for first, _ in done) / len(done), warm[1])


def _speak(engine: Engine, sentences: tuple[str, ...]) -> tuple[float, Samples]:
    started = time.perf_counter()
    chunks = engine.synthesize(Utterance(sentences, engine.voices()[0].id, streamed=True), lambda: False)
    pieces = [next(chunks).samples]
    first = time.perf_counter() - started
    return first, np.concatenate(pieces + [chunk.samples for chunk in chunks])


def snr(signal: Samples, other: Samples) -> float:
    """Decibels; the noise is the difference."""
    noise = float(np.square(signal - other, dtype=np.float64).sum())
    return 10 * float(np.log10(np.square(signal, dtype=np.float64).sum() / noise)) if noise else float("inf")


def distance(signal: Samples, other: Samples) -> float:
    """Log-spectral distance in decibels: the RMS over frequencies, meaned over time."""
    levels = [20 * np.log10(np.maximum(_spectrum(samples), FLOOR)) for samples in (signal, other)]
    return float(np.sqrt(np.square(levels[0] - levels[1]).mean(axis=1)).mean())


def _spectrum(samples: Samples) -> npt.NDArray[np.float64]:
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) / WINDOW
