"""Text into sentences that a model can speak one by one: the unit of streaming, cancellation and a model's length.

Rules, not a model: a sentence ends at . ! ? … and their kin, but not after an abbreviation or an initial, nor inside a
number; Chinese and Japanese end at their own marks without a space. A sentence that is too long is cut at a clause,
else at a word.
"""

import re
import unicodedata

LONGEST = 220  # characters; about 15 s, well within what the models were trained on (and ForwardTTS's 5000 frames)

# never end a sentence
TITLES = frozenset(
    "mr mrs ms dr prof sr jr st gen col sgt capt lt cmdr adm rev hon pres gov sen rep messrs mme mlle hr fr herr "
    "vs e.g i.e cf viz approx ca incl excl eds repr resp bzw z.b d.h u.a usw dipl ing sra srta mt ft dept univ".split()
)
# don't end a sentence where a number follows: "No. 5", but "No. I won't."
NUMBERED = frozenset("no nos nr núm fig figs eq eqs sec chap ch p pp vol vols art op tel ext".split())
# end a sentence only where a capital follows
MAYBE = frozenset(
    "etc inc ltd co corp bros ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k".split()
)

CLOSERS = "\"'”’»)]}」』）】》"
WIDE_ENDS = "。！？｡．"
BOUNDARY = re.compile(
    rf"(?P<wide>[{WIDE_ENDS}]+[{re.escape(CLOSERS)}{WIDE_ENDS}]*)"
    rf"|(?P<mark>[.!?…‼⁇⁈⁉؟۔।]+)[{re.escape(CLOSERS)}]*(?=\s|$)"
    r"|(?P<break>\s*\n\s*\n\s*|\s*\n\s*(?=[-*•–]\s|\d+[.)]\s))"
)
CLAUSE = re.compile(r"(?<=[,;:，、；：—–])\s*|(?<=\))\s+|\s+(?=[—–(])")
WORD_BEFORE = re.compile(r"(\S+)$")


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
    parts, rest = _at_boundaries(clean(text)), ""
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
    kept = (c if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"} else "" for c in composed)
    return "".join(kept)


def speakable(text: str) -> bool:
    return any(c.isalnum() for c in text)


def finished(sentence: str) -> str:
    """The sentence with a mark at its end: models were trained on marked ones, and ramble or break off without."""
    last = sentence[-1:]
    return sentence + "." if last.isalnum() and not _is_wide(last) else sentence


def _at_boundaries(text: str) -> list[str]:
    parts, start = [], 0
    for match in BOUNDARY.finditer(text):
        if match["mark"] and not _ends(text[start : match.start()], match, text[match.end() :].lstrip()):
            continue
        parts.append(text[start : match.end()])
        start = match.end()
    return [*parts, text[start:]]


def _ends(before: str, match: re.Match[str], rest: str) -> bool:
    """Whether a mark that a space follows ends its sentence; `before` is what the sentence holds so far."""
    if not rest:
        return True
    if match["mark"] == ".":
        return _full_stop_ends(before, rest)
    if match["mark"] in {"…", "..", "..."}:
        return not rest[0].islower()  # "Well… maybe" goes on
    return not (match["mark"] in {"!", "?"} and rest[0].islower() and match.end() > match.end("mark"))


def _full_stop_ends(before: str, rest: str) -> bool:
    found = WORD_BEFORE.search(before)
    word = found[1].lstrip("([{\"'“‘«").lower() if found else ""
    if word in TITLES or (word in NUMBERED and rest[0].isdigit()):
        return False
    if len(word) == 1 and word.isalpha() and word != "i":  # J. S. Bach, but "So do I. Then"
        return False
    if word in MAYBE or "." in word.strip("."):
        return rest[0].isupper() or not rest[0].isalnum()
    if word.isdigit() and before.strip() == word:  # "1. Open the door": a list's number
        return False
    return not rest[0].islower()


def _within(sentence: str, longest: int) -> list[str]:
    """Cut at clauses, then at words, then anywhere; pieces are filled up so that there are few."""
    if len(sentence) <= longest:
        return [sentence]
    pieces: list[str] = []
    for clause in CLAUSE.split(sentence):
        for word in [clause] if len(clause) <= longest else _words(clause, longest):
            joined = f"{pieces[-1]}{_glue(pieces[-1])}{word}" if pieces else word
            if pieces and len(joined) <= longest:
                pieces[-1] = joined
            else:
                pieces.append(word)
    return [p.strip() for p in pieces if speakable(p)]


def _words(clause: str, longest: int) -> list[str]:
    return [w[i : i + longest] for w in clause.split(" ") if w for i in range(0, len(w), longest)]


def _glue(before: str) -> str:
    return "" if _is_wide(before[-1:]) else " "


def _is_wide(character: str) -> bool:
    return bool(character) and unicodedata.east_asian_width(character) in {"W", "F"}
