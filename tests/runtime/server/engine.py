"""An engine that takes no time to load: tones instead of speech, and waits for as long as a test wants."""

import threading
from collections.abc import Iterator

import numpy as np

from voxraga_runtime.server.engines.base import Cancelled, Capabilities, Chunk, Utterance, Voice

RATE = 16000
SECONDS_PER_CHARACTER = 0.05
PITCH = {"low": 110.0, "high": 440.0}


class ToneEngine:
    """A sentence of n characters is a tone of n * 0.05 s; `gate` cleared makes sentences wait until it is set.

    Those before `gated_from` don't wait.
    """

    sample_rate = RATE
    architecture = "tone"
    memory = 1000
    languages = ("en", "de")

    def __init__(self, *, speed: bool = True, reentrant: bool = True) -> None:
        self.capabilities = Capabilities(speed=speed, reentrant=reentrant)
        self.gate = threading.Event()
        self.gate.set()
        self.gated_from = 0
        self.spoken = 0
        self.cancelled = 0
        self.level = 0.3
        self.fail_after: int | None = None
        self.closed = False

    def load(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def voices(self) -> tuple[Voice, ...]:
        return tuple(Voice(name) for name in PITCH)

    def synthesize(self, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        for index, sentence in enumerate(utterance.sentences):
            while index >= self.gated_from and not self.gate.wait(0.01):
                if cancelled():
                    break
            if cancelled():
                self.cancelled += 1
                return
            if self.fail_after is not None and index >= self.fail_after:
                raise RuntimeError("the model broke")
            seconds = len(sentence) * SECONDS_PER_CHARACTER / (utterance.speed if self.capabilities.speed else 1)
            time = np.arange(round(seconds * RATE)) / RATE
            samples = self.level * np.sin(2 * np.pi * PITCH[utterance.voice] * time)
            self.spoken += 1
            yield Chunk(samples.astype(np.float32), index)
