"""Which word is spoken when: the frames of a text's tokens, laid over the words as the text has them.

The tokens are letters or phonemes with spaces between spoken words. Spoken words are not always written ones: espeak
joins "of the" to one, and "25" is spoken as two. So the two sequences are aligned by how long each word is.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from voxraga_runtime.server.engines.base import Word

WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han: no spaces, each sign is a word
UNIT = re.compile(rf"[{WIDE}]|[^\s{WIDE}]+")
EDGES = re.compile(r"^\W+|\W+$")
SPOKEN_DIGIT = 5.0  # letters; "25" is said "twenty five"
MOST = 8  # spoken words for one written one, or written ones in one spoken
SKIP = 4.0  # letters; what it costs to take more than one word at once


class Spoken(NamedTuple):
    """A run of tokens between spaces: from and to which frame, and how many sounds."""

    start: float
    end: float
    sounds: int


def align(sentence: str, symbols: Sequence[str], frames: Sequence[float], seconds_per_frame: float) -> tuple[Word, ...]:
    """Times of the sentence's words. `symbols` are the tokens as characters: " " between words, "" for no sound."""
    words: list[Word] = []
    for group, runs in _pair(words_of(sentence), _spoken(symbols, frames)):
        words += share(group, runs[0].start * seconds_per_frame, runs[-1].end * seconds_per_frame)
    return tuple(words)


def words_of(text: str) -> list[str]:
    """The words of a text without the marks around them; `align` gives a time to each of them, or to none."""
    return [w for w in (EDGES.sub("", m) for m in UNIT.findall(text)) if w]


def share(texts: Sequence[str], start: float, end: float) -> list[Word]:
    """Several words that are spoken as one, from `start` to `end`: each gets a part by its length."""
    words, total = [], sum(map(_weight, texts))
    for text in texts:
        until = start + (end - start) * _weight(text) / total
        words.append(Word(text, round(start, 4), round(until, 4)))
        start, total = until, total - _weight(text)
    return words


def token_symbols(tokenizer: Any, tokens: Sequence[int]) -> list[str]:
    """Tokens of coqui's tokenizer as `align` wants them: blanks, padding and punctuation make no sound."""
    characters = tokenizer.characters
    mute = {characters.pad, characters.bos, characters.eos, characters.blank}
    mute |= set(characters.punctuations) - {" "}
    symbols = (characters.id_to_char(token) for token in tokens)
    return ["" if s in mute else s for s in symbols]


def _spoken(symbols: Sequence[str], frames: Sequence[float]) -> list[Spoken]:
    runs: list[Spoken] = []
    now, fresh = 0.0, True
    for symbol, length in zip(symbols, frames, strict=True):
        if symbol == " ":
            fresh = True
        elif symbol and fresh:
            runs.append(Spoken(now, now + length, 1))
            fresh = False
        elif symbol:
            runs[-1] = Spoken(runs[-1].start, now + length, runs[-1].sounds + 1)
        now += length
    return runs


def _pair(written: list[str], spoken: list[Spoken]) -> list[tuple[list[str], list[Spoken]]]:
    """The cheapest monotone pairing of 1:1, 1:n and n:1 (after Gale and Church 1993)."""
    if not written or not spoken:
        return []
    if len(written) == len(spoken):
        return [([w], [s]) for w, s in zip(written, spoken, strict=True)]
    ratio = sum(s.sounds for s in spoken) / sum(map(_weight, written))
    best: dict[tuple[int, int], tuple[float, tuple[int, int]]] = {(0, 0): (0.0, (0, 0))}
    for i in range(len(written) + 1):
        for j in range(len(spoken) + 1):
            if (i, j) in best:
                _extend(best, (i, j), written, spoken, ratio)
    at = (len(written), len(spoken))
    if at not in best:  # no such pairing: one is many times longer than the other
        return [(written, spoken)]
    pairs = []
    while at != (0, 0):
        before = best[at][1]
        pairs.append((written[before[0] : at[0]], spoken[before[1] : at[1]]))
        at = before
    return pairs[::-1]


def _extend(
    best: dict[tuple[int, int], tuple[float, tuple[int, int]]],
    at: tuple[int, int],
    written: list[str],
    spoken: list[Spoken],
    ratio: float,
) -> None:
    i, j = at
    for take_written, take_spoken in _STEPS:
        to = (i + take_written, j + take_spoken)
        if to[0] > len(written) or to[1] > len(spoken):
            continue
        expected = ratio * sum(map(_weight, written[i : to[0]]))
        sounds = sum(s.sounds for s in spoken[j : to[1]])
        cost = best[at][0] + abs(expected - sounds) + SKIP * (take_written + take_spoken - 2)
        if to not in best or cost < best[to][0]:
            best[to] = (cost, at)


_STEPS = [(1, 1), *((1, n) for n in range(2, MOST + 1)), *((n, 1) for n in range(2, MOST + 1))]


def _weight(word: str) -> float:
    return sum(SPOKEN_DIGIT if c.isdigit() else 1.0 for c in word)
