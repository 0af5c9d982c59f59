"""What an engine for speech to text is, and what it hears."""

import dataclasses
import zlib
from collections.abc import Iterator
from typing import Protocol, Self

from voxraga_runtime.server.engines.base import Cancelled, FloatArray, Word

RATE = 16000  # Hz, of the samples that every such engine takes


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """What is known before the first word: the language (its code) and the audio's length in seconds."""

    language: str
    duration: float


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """A part of the text, and where it lies in the audio, in seconds. `tokens` are the model's.

    `words` have their marks, and are there where they were asked for.
    """

    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    words: tuple[Word, ...] = ()

    def moved(self, seconds: float, length: float, temperature: float) -> Self:
        """The same, of a window that begins at `seconds` in audio of that length."""

        def at(time: float) -> float:
            return min(round(time + seconds, 3), length)

        words = tuple(Word(w.text, at(w.start), at(w.end)) for w in self.words)
        return dataclasses.replace(self, start=at(self.start), end=at(self.end), temperature=temperature, words=words)

    @property
    def compression_ratio(self) -> float:
        """How much the text repeats itself; above 2.4 Whisper has usually lost the thread."""
        data = self.text.encode()
        return len(data) / len(zlib.compress(data)) if data else 0.0


class Transcriber(Protocol):
    """A loaded (or loadable) model. `transcribe` runs in worker threads and keeps no state between calls."""

    @property
    def architecture(self) -> str: ...

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes that a request may name."""

    @property
    def tells_words(self) -> bool:
        """Whether it can tell when each word is said."""

    def load(self) -> None:
        """Read the weights. Raises errors.StartupError where the model cannot be served."""

    def transcribe(
        self,
        pcm16k: FloatArray,
        language: str | None = None,
        prompt: str = "",
        temperature: float = 0.0,
        *,
        seed: int = 0,
        timestamps: bool = True,
        words: bool = False,
        translate: bool = False,
        cancelled: Cancelled = lambda: False,
    ) -> Iterator[Heard | Segment]:
        """A Heard, then the segments as they are found.

        `language` None lets the model find out; `prompt` is text that may have come before; without `timestamps` a
        segment is a window of 30 seconds; `words` asks for their times; `translate` is into English; with a
        `temperature`, equal seeds hear alike. Once `cancelled`, it ends early, without error.
        """

    def close(self) -> None: ...
