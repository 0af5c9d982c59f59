"""Text into sentences that a model can speak one by one: the unit of streaming, cancellation and a model's length.

Rules, not a model: a sentence ends at . ! ? … and their kin, but not after an abbreviation or an initial, nor inside a
number; Chinese and Japanese end at their own marks without a space. A sentence that is too long is cut at a clause,
else at a word.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

import regex

LONGEST = 220  # characters; about 15 s, well within what the models were trained on (and ForwardTTS's 5000 frames)

# never end a sentence
TITLES = frozenset(
    "mr mrs ms dr prof sr jr st gen col sgt capt lt cmdr adm rev hon pres gov sen rep messrs mme mlle hr fr herr "
    "vs e.g i.e cf viz approx ca incl excl eds repr resp bzw z.b d.h u.a usw dipl ing sra srta mt ft dept univ h.c "
    "p.s".split()
)
# don't end a sentence where a number follows: "No. 5", but "No. I won't."
NUMBERED = frozenset(
    "no nos nr núm fig figs eq eqs sec chap ch p pp vol vols art op tel ext kap abs abb tab bd ziff str pág cap".split()
)
# end a sentence only where a capital follows
MAYBE = frozenset(
    "etc inc ltd co corp bros ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m".split()
)

# words that begin a sentence rather than a name: what tells "in the U.S. He …" and "vitamin C. It …" from "J. S. Bach"
STARTERS = frozenset(
    "the he she it they we you this that these those there here then but and so in on at if when what who why how "
    "an our my his her its their however now after before as for from not yes i".split()
)
# after "3.": a date
MONTHS = frozenset(
    "januar jänner februar märz april mai juni juli august september oktober november dezember januari februari marts "
    "maj juuni maaliskuuta".split()
)

CLOSERS = "\"'”’“‘»«)]}」』）】》"  # “ closes in German, « too
WIDE_ENDS = "。！？｡．।॥۔؟။።"  # need no space after them: they stand nowhere else
BOUNDARY = re.compile(
    rf"(?P<wide>[{WIDE_ENDS}]+[{re.escape(CLOSERS)}{WIDE_ENDS}.!?…]*)"
    rf"|(?P<mark>[.!?…‼⁇⁈⁉։៕។།]+)(?:[{re.escape(CLOSERS)}]|\s»)*(?=\s|$)"
    r"|(?P<break>\s*\n\s*\n\s*|\s*\n\s*(?=[-*•–]\s|\d+[.)]\s))"
)
# a comma or colon inside a number, a time or an address has no space after it
CLAUSE = re.compile(r"(?<=[,;:])\s+|(?<=[，、；：،؛—–])\s*|(?<=\))\s+|\s+(?=[—–(])")
SPACED_DOTS = re.compile(r"\.(?:[ \u00a0]\.){2,}")
INITIALS = re.compile(r"(?:[^\W\d]\.)+[^\W\d]|[^\W\d]+\.[A-Z]")  # without the last stop: U.S, J.R.R, Ph.D
NEXT_WORD = re.compile(r"\s*(\S+)")
SPACE = re.compile(r"\s+")
JOINERS = "\u200c\u200d"  # shape the letters of some scripts
LATIN_ENDS = "\u0590"  # the scripts behind may need them


def split_sentences(text: str, longest: int = LONGEST) -> list[str]:
    """Sentences of `text` in order, spaces collapsed; parts without a letter or digit are left out (nothing to say)."""
    sentences = []
    for raw in _at_boundaries(clean(text)):
        sentence = " ".join(raw.split())
        if speakable(sentence):
            sentences.extend(_within(sentence, longest))
    return sentences


def complete_sentences(text: str, longest: int = LONGEST) -> tuple[list[str], str]:
    """For text that is still being written: its sentences that are certainly over, and the rest to go on with.

    A mark at the very end proves nothing ("3." may become "3.14"), except where no space follows it anyway.
    """
    parts, rest = _at_boundaries(clean(text), whole=False), ""
    while parts and not rest.strip():
        rest = parts.pop() + rest
    if rest.rstrip().endswith(tuple(WIDE_ENDS)):
        parts, rest = [*parts, rest], ""
    sentences = [s for part in parts for s in split_sentences(part, longest)]
    if len(rest) > longest:
        *pieces, last = _within(" ".join(rest.split()), longest) or [""]
        sentences += pieces
        rest = last + (" " if rest[-1].isspace() else "")
    return sentences, rest


def clean(text: str) -> str:
    """Canonical composition, and no control or formatting characters (soft hyphens, zero-width spaces, escapes)."""
    composed = unicodedata.normalize("NFC", text).replace("\r\n", "\n")
    kept: list[str] = []
    for c in composed:
        joins = c in JOINERS and kept and kept[-1] > LATIN_ENDS and unicodedata.category(kept[-1])[0] in "LM"
        if c in "\n\t" or joins or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"}:
            kept.append(c)
    return SPACED_DOTS.sub("…", "".join(kept))


def speakable(text: str) -> bool:
    return any(c.isalnum() for c in text)


def finished(sentence: str) -> str:
    """The sentence with a mark at its end: models were trained on marked ones, and ramble or break off without."""
    last = sentence[-1:]
    return sentence + "." if last.isalnum() and not _is_wide(last) else sentence


def _at_boundaries(text: str, *, whole: bool = True) -> list[str]:
    """The text's sentences. Where it isn't whole, its last word is only the beginning of one, perhaps."""
    parts, start = [], 0
    for match in BOUNDARY.finditer(text):
        if match["mark"]:
            following = NEXT_WORD.match(text, match.end())
            known = whole or following is None or following.end() < len(text)
            if not _ends(text[start : match.start()], match, following[1] if following else "", known=known):
                continue
        parts.append(text[start : match.end()])
        start = match.end()
    return [*parts, text[start:]]


def _ends(before: str, match: re.Match[str], following: str, *, known: bool) -> bool:
    """Whether a mark that a space follows ends its sentence; `before` is what the sentence holds so far.

    `known` says whether the whole following word is.
    """
    if not following:
        return True
    if match["mark"] == ".":
        return _full_stop_ends(before, following, known=known)
    if match["mark"] in {"…", "..", "..."}:
        return not following[0].islower()  # "Well… maybe" goes on
    return not (match["mark"] in {"!", "?"} and following[0].islower() and match.end() > match.end("mark"))


def _full_stop_ends(before: str, following: str, *, known: bool) -> bool:
    raw = _last_word(before)
    word, next_word = raw.lower(), following.strip(",.;:!?").lower()
    starts = known and next_word in STARTERS
    alone = before.strip() == raw  # "1. Open the door": a list's number or letter
    if word in TITLES or (word in NUMBERED and following[0].isdigit()):
        return False
    if word.isdigit() and (alone or not known or next_word in MONTHS):
        return False
    if word != "i" and len(word) == 1 and word.isalpha():
        return starts and not alone
    if word not in MAYBE and INITIALS.fullmatch(raw):
        return starts
    if word in MAYBE or "." in word.strip("."):
        return following[0].isupper() or not following[0].isalnum()
    return not following[0].islower()


def _last_word(before: str) -> str:
    if not before.strip() or before[-1].isspace():
        return ""
    return before.rsplit(maxsplit=1)[-1].lstrip("([{\"'“‘«„")


def _within(sentence: str, longest: int) -> list[str]:
    """Cut at clauses, then at words, then between characters as readers see them; filled up so that pieces are few."""
    pieces = [""]
    for part in _parts(sentence, longest):
        if len((pieces[-1] + part).rstrip()) <= longest:
            pieces[-1] += part
        else:
            pieces.append(part)
    return [p.strip() for p in pieces if speakable(p)]


def _parts(sentence: str, longest: int) -> Iterator[str]:
    """What makes up the sentence, none longer than `longest` (but for the space at its end)."""
    if len(sentence) <= longest:
        yield sentence
        return
    for clause in _cut(sentence, CLAUSE):
        for word in [clause] if len(clause.rstrip()) <= longest else _cut(clause, SPACE):
            yield from [word] if len(word.rstrip()) <= longest else _characters(word, longest)


def _cut(text: str, at: re.Pattern[str]) -> list[str]:
    """Cut behind each match: the parts make up the text."""
    ends = sorted({0, len(text), *(m.end() for m in at.finditer(text))})
    return [text[a:b] for a, b in pairwise(ends)]


def _characters(word: str, longest: int) -> Iterator[str]:
    """Between graphemes: a letter keeps its accents, an emoji its parts, as long as they fit."""
    part = ""
    for grapheme in regex.findall(r"\X", word):
        if part and len(part) + len(grapheme) > longest:
            yield part
            part = ""
        part += grapheme
        while len(part) > longest:
            yield part[:longest]
            part = part[longest:]
    yield part


def _is_wide(character: str) -> bool:
    return bool(character) and unicodedata.east_asian_width(character) in {"W", "F"}
