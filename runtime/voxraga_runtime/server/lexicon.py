"""A pronunciation lexicon: respells words in sentences, and gives spoken words' times back to the written ones. Pure.

    {"Nguyen": "win", "SQL": "sequel", "New York": "noo york", "de:Paris": "Paariss", "Loire": "/lwa/"}

An entry is for whole words; signs of scripts without spaces count as words. It is found in any case, unless it has a
capital after a word's first letter ("SQL", "iPhone"): then only as it is written. Where several begin at the same word
the longest is taken; of equal ones a request's before the server's, then one for the language before one for all.
A key may begin with one of the model's languages and a colon. A value between slashes is phonemes (IPA).
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import regex

from voxraga_runtime.server.engines.base import PHONEMES_BEGIN, PHONEMES_END, Word
from voxraga_runtime.server.engines.words import UNIT, WIDE, share, words_of
from voxraga_runtime.server.text import clean, speakable

LONGEST_KEY, LONGEST_VALUE = 100, 200  # characters; a value has to fit into a sentence
# one word, one sign of a script without spaces, or one mark; `regex` knows that vowel signs belong to words
TOKEN = regex.compile(rf"[{WIDE}]|[^\W{WIDE}]+|\S")
SIGN = regex.compile(f"[{WIDE}]")
CAPITAL_INSIDE = regex.compile(r"\w\p{Lu}")


class LexiconError(ValueError):
    """What is wrong with an entry; the message names it, and says what would be right."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a sentence: as it is written, and as it is said (phonemes between marks, see engines.base)."""

    written: str
    spoken: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """`tokens` are the key's, the later ones with the space before them, folded unless `exact`."""

    tokens: tuple[str, ...]
    said: str
    language: str | None
    exact: bool
    asked: bool  # by the request

    @property
    def rank(self) -> tuple[int, bool, bool, bool]:
        return sum(map(len, self.tokens)), self.asked, self.language is not None, self.exact


class Lexicon:
    """Entries for one model. Raises LexiconError for what it can't say.

    `languages` are the model's, `phonemes` the symbols that it speaks ("" where it speaks none).
    """

    def __init__(self, entries: Mapping[str, str], languages: Sequence[str], phonemes: str) -> None:
        self._languages = {_primary(language) for language in languages}
        self._phonemes = phonemes
        self.entries = [self._entry(key, value, asked=False) for key, value in entries.items()]
        self.by_first = _indexed(self.entries)

    def over(self, entries: Mapping[str, str] | None) -> "Lexicon":
        """This lexicon with a request's entries before its own. Raises LexiconError."""
        if not entries:
            return self
        both = copy.copy(self)
        both.entries = [*self.entries, *(self._entry(key, value, asked=True) for key, value in entries.items())]
        both.by_first = _indexed(both.entries)
        return both

    def _entry(self, key: str, value: str, *, asked: bool) -> _Entry:
        prefix, colon, rest = key.partition(":")
        language = _primary(prefix) if colon and rest.strip() and _primary(prefix) in self._languages else None
        written = clean(key if language is None else rest).strip()
        matches = list(TOKEN.finditer(written))
        if not matches or len(written) > LONGEST_KEY:
            raise LexiconError(f"{_short(key)} is no word or phrase of 1 to {LONGEST_KEY} characters")
        exact = CAPITAL_INSIDE.search(written) is not None
        tokens = tuple(_with_spaces(matches))
        return _Entry(
            tokens=tokens if exact else tuple(token.casefold() for token in tokens),
            said=_said(key, value, self._phonemes),
            language=language,
            exact=exact,
            asked=asked,
        )

    def apply(self, sentence: str, language: str) -> tuple[Piece, ...]:
        """The sentence in pieces that make it up; those that an entry touches are said otherwise than written."""
        found = list(self._found(sentence, _primary(language))) if self.by_first else []
        return _cut(sentence, found) if found else (Piece(sentence, sentence),)

    def _found(self, sentence: str, language: str) -> Iterator[tuple[int, int, str]]:
        """From where to where an entry is to be said instead, in order, without overlaps."""
        matches = list(TOKEN.finditer(sentence))
        texts = _with_spaces(matches)
        folded = [text.casefold() for text in texts]
        at = 0
        while at < len(matches):
            entry = next(
                (
                    e
                    for e in self.by_first.get(folded[at].strip(), ())
                    if e.language in {None, language} and _is_at(e, texts if e.exact else folded, at)
                ),
                None,
            )
            if entry is not None:
                yield matches[at].start(), matches[at + len(entry.tokens) - 1].end(), entry.said
            at += len(entry.tokens) if entry is not None else 1


def spoken(pieces: Sequence[Piece]) -> str:
    return "".join(piece.spoken for piece in pieces)


def as_written(words: Sequence[Word], pieces: Sequence[Piece]) -> tuple[Word, ...]:
    """The spoken words' times for the words as they were written; where the counts differ, they share their time."""
    given = iter(words)
    times: list[Word] = []
    for piece in pieces:
        said = list(islice(given, len(words_of(piece.spoken))))
        if piece.spoken == piece.written:
            times += said
        elif said:
            times += share(words_of(piece.written) or [piece.written.strip()], said[0].start, said[-1].end)
    return tuple(times)


def _said(key: str, value: str, phonemes: str) -> str:
    text = " ".join(clean(value).split())
    if not speakable(text) or len(text) > LONGEST_VALUE:
        problem = f"it must have a letter or digit, and at most {LONGEST_VALUE} characters"
        raise LexiconError(f"{_short(key)} is {_short(value)}: {problem}")
    if not (text.startswith("/") and text.endswith("/")):
        return text
    text = text.strip("/").strip()
    if not phonemes:
        raise LexiconError(f"{_short(key)} is {_short(value)}: this model speaks no phonemes; respell it in letters")
    if unknown := sorted(set(text) - set(phonemes) - {" "}):
        raise LexiconError(f"{_short(key)} is {_short(value)}: this model has no phoneme {' '.join(unknown[:10])}")
    return f"{PHONEMES_BEGIN}{text}{PHONEMES_END}"


def _indexed(entries: Sequence[_Entry]) -> dict[str, list[_Entry]]:
    """By their first word, those to be tried first in front."""
    by_first: dict[str, list[_Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.rank, reverse=True):
        by_first.setdefault(entry.tokens[0].casefold(), []).append(entry)
    return by_first


def _with_spaces(matches: Sequence["regex.Match[str]"]) -> list[str]:
    """Each token, with a space in front where there is any: "C++" is not "C ++"."""
    ends = [0, *(m.end() for m in matches)]
    return [(" " if m.start() > end else "") + m[0] for m, end in zip(matches, ends, strict=False)]


def _is_at(entry: _Entry, texts: Sequence[str], at: int) -> bool:
    first, *others = entry.tokens
    return texts[at].strip() == first and list(texts[at + 1 : at + 1 + len(others)]) == others


def _cut(sentence: str, found: Sequence[tuple[int, int, str]]) -> tuple[Piece, ...]:
    """Pieces of whole words: cut before each word that doesn't begin inside an entry."""
    starts = [m.start() for m in UNIT.finditer(sentence)]
    inside = {start for start in starts for begin, end, _ in found if begin < start < end}
    cuts = sorted({0, len(sentence)} | set(starts) - inside)
    pieces: list[Piece] = []
    for a, b in pairwise(cuts):
        said = _respelled(sentence, a, b, [f for f in found if a <= f[0] < b])
        before = spoken(pieces)
        # a sign that begins a word by itself may be said by letters, which would join a mark before it ("A.東")
        joined = len(words_of(before + said)) < len(words_of(before)) + len(words_of(said))
        pieces.append(Piece(sentence[a:b], f" {said}" if joined else said))
    return tuple(pieces)


def _respelled(sentence: str, start: int, end: int, found: Sequence[tuple[int, int, str]]) -> str:
    """What is said from `start` to `end`: an entry stays a word of its own, also where none was ("R&D")."""
    parts = []
    for begin, until, said in found:
        before = _gap(sentence[begin - 1 : begin], said[0])
        parts += [sentence[start:begin], before, said, _gap(sentence[until : until + 1], said[-1])]
        start = until
    return "".join([*parts, sentence[start:end]])


def _gap(outside: str, inside: str) -> str:
    """A space where two words would become one; there is none between signs that are words by themselves."""
    return " " if outside.isalnum() and not (SIGN.match(outside) and SIGN.match(inside)) else ""


def _primary(language: str) -> str:
    return language.strip().replace("_", "-").split("-")[0].lower()


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:80] + "…"  # noqa: PLR2004 - what fits a line
