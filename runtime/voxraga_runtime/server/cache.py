"""Finished answers, kept in memory by what decides their bytes; those that nobody asked for again go first."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from voxraga_runtime.server.engines.base import Word
from voxraga_runtime.server.models.model import Model
from voxraga_runtime.server.render import Speech
from voxraga_runtime.server.workers import Job

LARGEST = 4  # one answer takes at most this part of the cache: a long text would push out all the short ones


@dataclass(frozen=True, slots=True)
class Part:
    """Encoded audio as a worker put it, and the words that were told before it."""

    audio: bytes
    words: tuple[Word, ...] = ()


Answer = tuple[Part, ...]


class Cache:
    """Complete answers of at most `limit` bytes of audio. Workers put them in, the event loop looks them up.

    Nobody waits for an equal request that is being answered: both are computed, and the later one's answer stays.
    """

    def __init__(self, limit: int) -> None:
        self.largest = limit // LARGEST
        self.bytes = 0
        self._limit = limit
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()  # the one used last at the end
        self._lock = threading.Lock()

    def find(self, key: bytes) -> Answer | None:
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def keep(self, key: bytes, answer: Answer) -> None:
        """Room is made for it; one that is too large is not kept."""
        if _size(answer) > self.largest:
            return
        with self._lock:
            self.bytes += _size(answer) - _size(self._answers.pop(key, ()))
            self._answers[key] = answer
            while self.bytes > self._limit:
                self.bytes -= _size(self._answers.popitem(last=False)[1])


class Recording:
    """A job's answer under way: what is put goes to the job, and is kept once it is complete."""

    def __init__(self, cache: Cache, key: bytes, job: Job, *, timestamps: bool) -> None:
        self._cache = cache
        self._key = key
        self._job = job
        self._timestamps = timestamps
        self._parts: list[Part] = []
        self._told = 0
        self._left = cache.largest

    def put(self, audio: bytes) -> None:
        """Called by the worker, as `Job.put` is."""
        self._left -= len(audio)
        if self._left < 0:
            self._parts.clear()  # the answer is too large: hold nothing of it
        elif audio:
            words = tuple(self._job.words[self._told :]) if self._timestamps else ()
            self._told += len(words)
            self._parts.append(Part(audio, words))
        self._job.put(audio)

    def complete(self) -> None:
        """Called by the worker before the job is finished: whoever has the whole answer finds it from then on."""
        if self._left >= 0:
            self._cache.keep(self._key, tuple(self._parts))


class Replay(Job):
    """An answer of the cache, given in the pieces it was made in: a job that needs no worker."""

    def __init__(self, answer: Answer, words: list[Word] | None = None) -> None:
        super().__init__(words)
        self._answer = answer
        self.done.set()

    async def items(self) -> AsyncIterator[bytes]:
        for part in self._answer:
            self.words.extend(part.words)
            yield part.audio


def key_of(model: Model, speech: Speech) -> bytes:
    """The hash of everything that decides an answer's bytes and words; the text itself is not kept.

    What no process changes while it runs, such as device and precision, need not be in it: the cache ends with it.
    """
    utterance, stored = speech.utterance, model.stored
    decides = (
        *(stored.name, stored.digest, str(stored.path), stored.created, model.gains[utterance.voice]),
        *(utterance, speech.format.name, speech.rate, speech.streamed, speech.timestamps),
        speech.script if speech.timestamps else (),
    )
    return hashlib.sha256(repr(decides).encode()).digest()


def _size(answer: Answer) -> int:
    return sum(len(part.audio) for part in answer)
