"""From an utterance to encoded audio: engine → level → fades → resampling → encoder. Runs in a worker."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from voxraga_runtime.common.audio import FloatArray, ResampleStream, fade_edges, limit, silence
from voxraga_runtime.common.encoding import Format, make_encoder
from voxraga_runtime.common.errors import SynthesisFailed
from voxraga_runtime.common.stretch import stretch
from voxraga_runtime.server.engines.base import Cancelled, Chunk, Engine, Utterance, Word
from voxraga_runtime.server.lexicon import Piece, as_written

PAUSE_SECONDS = 0.18  # between sentences; coqui's own server leaves 0.45 s, after the last one too


@dataclass(frozen=True, slots=True)
class Speech:
    """A checked request: what to say and how to deliver it. `rate` is in Hz, `characters` counts the text as given."""

    utterance: Utterance
    format: Format
    rate: int
    streamed: bool
    events: bool = False  # server-sent events around the audio
    characters: int = 0
    timestamps: bool = False  # the words' times go with the audio
    script: tuple[tuple[Piece, ...], ...] = ()  # the utterance's sentences as they were written, if a lexicon is used
    model: str = ""  # its own name


@dataclass(slots=True)
class Rendered:
    """What a finished (or cancelled) rendering measured, in seconds."""

    audio_seconds: float = 0.0
    work_seconds: float = 0.0
    first_audio_at: float | None = None  # time.perf_counter()
    complete: bool = False
    words: list[Word] = field(default_factory=list)  # seconds from the audio's start


def render(
    engine: Engine,
    speech: Speech,
    gain: float,
    put: Callable[[bytes], None],
    cancelled: Cancelled,
    *,
    words: list[Word] | None = None,
) -> Rendered:
    """Speak, and `put` the encoded bytes as they come. Raises SynthesisFailed where the model makes no usable sound.

    A sentence's words are in `words` (the result's, if none is given) before its first bytes are put.
    """
    started = time.perf_counter()
    result = Rendered(words=[] if words is None else words)
    encoder = make_encoder(speech.format, speech.rate, streamed=speech.streamed)
    resampler = ResampleStream(engine.sample_rate, speech.rate)
    header = encoder.start()
    for samples in _level_samples(engine, speech, gain, cancelled, result.words):
        data = encoder.feed(limit(resampler.feed(samples)))
        result.first_audio_at = result.first_audio_at or time.perf_counter()
        result.audio_seconds += len(samples) / engine.sample_rate
        put(header + data)
        header = b""
    if cancelled():
        result.work_seconds = time.perf_counter() - started
        return result
    if not result.audio_seconds:
        raise SynthesisFailed("the model made no sound of this text")
    rest = encoder.feed(limit(resampler.finish()))
    put(header + rest + encoder.finish())
    result.work_seconds = time.perf_counter() - started
    result.complete = True
    return result


def _level_samples(
    engine: Engine, speech: Speech, gain: float, cancelled: Cancelled, words: list[Word]
) -> Iterator[FloatArray]:
    """The utterance at the engine's rate: levelled, faded at the sentences' edges, with pauses between them."""
    rate, utterance = engine.sample_rate, speech.utterance
    pace = 1.0 if engine.capabilities.speed else utterance.speed
    fresh, first = True, True
    position = 0  # samples given so far
    delay = speech.format.delay(speech.rate, streamed=speech.streamed)
    for chunk in engine.synthesize(utterance, cancelled):
        if fresh and not first:
            pause = silence(PAUSE_SECONDS / utterance.speed, rate)
            position += len(pause)
            yield pause
        begin = position / rate + delay
        words.extend(Word(w.text, begin + w.start / pace, begin + w.end / pace) for w in _written(chunk, speech))
        samples = _checked(chunk.samples)
        if pace != 1.0:
            samples = stretch(samples, pace, rate)
        position += len(samples)
        yield fade_edges(samples * np.float32(gain), rate, start=fresh, end=chunk.final)
        fresh, first = chunk.final, False


def _written(chunk: Chunk, speech: Speech) -> tuple[Word, ...]:
    return as_written(chunk.words, speech.script[chunk.sentence]) if speech.script else chunk.words


def _checked(samples: FloatArray) -> FloatArray:
    if not np.isfinite(samples).all():
        raise SynthesisFailed("the model made samples that are not numbers")
    return samples
