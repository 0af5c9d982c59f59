"""What an engine is: it loads a model, says what it can do, and turns sentences into float32 samples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Cancelled = Callable[[], bool]
# around phonemes in a sentence; no request's text holds them: `text.clean` removes what is for private use
PHONEMES_BEGIN, PHONEMES_END = "\ue000", "\ue001"


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice a client can ask for; `language` is None where the voice speaks every language of the model."""

    id: str
    language: str | None = None
    origin: Literal["model", "recording"] = "model"
    license: str = ""  # of the recordings, where noted


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the server may ask of an engine; whatever is not declared here, the server does itself or refuses."""

    speed: bool  # the engine honours Utterance.speed exactly; else the server stretches the samples
    reentrant: bool  # several threads may synthesize at once; else the server gives it one worker
    streaming: Literal["sentence", "slice"] = "sentence"  # what one Chunk holds
    max_batch: int = 1
    timestamps: bool = False  # chunks carry the words' times
    cloning: bool = False
    parallel: int | None = None  # how many may run at once where the engine brings its own workers
    char_limits: Mapping[str, int] = field(default_factory=dict)  # language → the longest sentence, in characters
    phonemes: str = ""  # the symbols that may stand between PHONEMES_BEGIN and _END; "" where it takes letters only


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is to be said: sentences in order, each short enough for the model (see server.text).

    `voice` is an id from `Engine.voices`, `language` one of `Engine.languages` or None for the model's own,
    `speed` 1.0 is the model's own pace (2.0 takes half the time), and equal seeds give equal samples. `streamed` says
    that somebody listens already: an engine that makes slices makes the first ones short.
    """

    sentences: tuple[str, ...]
    voice: str
    language: str | None = None
    speed: float = 1.0
    seed: int = 0
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word, as the text has it without the marks around it; seconds from where its holder starts."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples of one sentence or a slice of it: float32, mono, [n], at the engine's rate, level as the model has it.

    `sentence` counts from 0; `final` marks the sentence's last chunk. `words` are the whole sentence's and come with
    its first chunk, from engines that declare timestamps; times count from the sentence's start.
    """

    samples: FloatArray
    sentence: int
    final: bool = True
    words: tuple[Word, ...] = ()


class Engine(Protocol):
    """A loaded (or loadable) model. `synthesize` runs in worker threads and keeps no state between calls.

    Sentence i of an utterance is spoken with the noise of `seed + i`: it can be said again, or alone, and is the same.
    """

    @property
    def sample_rate(self) -> int:
        """The rate of every Chunk, in Hz."""

    @property
    def architecture(self) -> str:
        """The model's family, such as `vits`."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages a request may name; the first is the default."""

    @property
    def memory(self) -> int:
        """Bytes that the loaded model holds: its weights, or its processes."""

    def load(self) -> None:
        """Read the weights. Raises errors.StartupError where the model cannot be served."""

    def voices(self) -> tuple[Voice, ...]:
        """The model's own voices, the first being the default; never empty once loaded."""

    def synthesize(self, utterance: Utterance, cancelled: Cancelled) -> Iterator[Chunk]:
        """Speak. `cancelled` is asked again and again, by any thread; once true the iterator ends early, no error."""

    def close(self) -> None: ...
