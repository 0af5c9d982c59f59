"""A lexicon: which words it finds, what is said instead, and whose times are told."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxraga_runtime.server.engines.base import PHONEMES_BEGIN, PHONEMES_END, Word
from voxraga_runtime.server.engines.words import words_of
from voxraga_runtime.server.lexicon import Lexicon, LexiconError, as_written, spoken

LANGUAGES = ("en", "de", "zh-cn")
PHONEMES = "abeklmnstœəˈː"


def said(sentence: str, entries: dict[str, str], language: str = "en") -> str:
    return spoken(Lexicon(entries, LANGUAGES, PHONEMES).apply(sentence, language))


@pytest.mark.parametrize(
    ("entries", "written", "wanted"),
    [
        ({"nguyen": "win"}, "Mr. Nguyen, NGUYEN's and nguyen.", "Mr. win, win's and win."),
        ({"cat": "dog"}, "cats concat cat_ cat", "cats concat cat_ dog"),  # whole words
        ({"SQL": "sequel"}, "SQL, sql and MySQL", "sequel, sql and MySQL"),  # capitals inside: exactly so
        ({"US": "you ess"}, "the US told us", "the you ess told us"),
        ({"Köln": "kerln"}, "Ko\u0308ln", "Ko\u0308ln"),  # the server composes texts before
        ({"Ko\u0308ln": "kerln"}, "KÖLN", "kerln"),
        ({"straße": "shtrahsseh"}, "Die STRASSE", "Die shtrahsseh"),
        ({"York": "jork", "New York": "noo york"}, "new york and York", "noo york and jork"),  # longest first
        ({"New York": "noo york"}, "New\u00a0York, New-York", "noo york, New-York"),
        ({"C": "see", "C++": "see plus plus"}, "C, C++ and C ++", "see, see plus plus and see ++"),
        ({"&": "and"}, "R&D & more", "R and D and more"),
        ({".NET": "dot net"}, "use .NET", "use dot net"),
        ({"東京": "とうきょう"}, "私は東京にいる", "私はとうきょうにいる"),
        ({"हिन्दी": "hindee"}, "हिन्दी, हिन्दीका", "hindee, हिन्दीका"),  # vowel signs belong to the word
        ({"win": "nguyen", "nguyen": "win"}, "win nguyen", "nguyen win"),  # once only
    ],
)
def test_words_and_what_is_said(entries: dict[str, str], written: str, wanted: str) -> None:
    assert said(written, entries) == wanted


def test_languages_in_front_of_a_key() -> None:
    entries = {"de:Paris": "pariis", "Paris": "parriss", "10:30": "half past ten", "re:Invent": "reinvent"}
    assert said("Paris", entries) == "parriss"
    assert said("Paris", entries, "de") == "pariis"
    assert said("10:30 at re:Invent", entries) == "half past ten at reinvent"  # neither is a language of the model
    assert said("你好吗", {"zh-cn:好": "hao"}, "zh-cn") == "你 hao 吗"


def test_a_request_goes_before_the_server() -> None:
    lexicon = Lexicon({"SQL": "sequel", "a b c": "abc"}, LANGUAGES, "")
    assert spoken(lexicon.over({"sql": "squeal", "a": "eh"}).apply("SQL a b c", "en")) == "squeal abc"
    assert spoken(lexicon.apply("SQL a b c", "en")) == "sequel abc"
    assert lexicon.over(None) is lexicon.over({}) is lexicon


def test_phonemes_are_marked_for_the_engine() -> None:
    assert said("Köln!", {"köln": "/kˈœln/"}) == f"{PHONEMES_BEGIN}kˈœln{PHONEMES_END}!"


@pytest.mark.parametrize(
    ("entries", "phonemes", "told"),
    [
        ({"Köln": "/kœln/"}, "", "'Köln' is '/kœln/': this model speaks no phonemes; respell it in letters"),
        ({"Köln": "/kœlnʘ/"}, PHONEMES, "'Köln' is '/kœlnʘ/': this model has no phoneme ʘ"),
        ({"  ": "x"}, "", "'  ' is no word or phrase of 1 to 100 characters"),
        ({"x" * 101: "x"}, "", "is no word or phrase of 1 to 100 characters"),
        ({"x": "…"}, "", "'x' is '…': it must have a letter or digit, and at most 200 characters"),
        ({"x": "y" * 201}, "", "at most 200 characters"),
    ],
)
def test_entries_that_cannot_be_said(entries: dict[str, str], phonemes: str, told: str) -> None:
    with pytest.raises(LexiconError) as caught:
        Lexicon(entries, LANGUAGES, phonemes)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "written", "times"),
    [
        ({"SQL": "ess queue ell"}, "My SQL works", [("My", 0, 1), ("SQL", 1, 4), ("works", 4, 5)]),
        ({"World Health": "Who"}, "The World Health day", [("The", 0, 1), ("World", 1, 1.4545), ("Health", 1.4545, 2)]),
        ({"&": "and"}, "R&D & so", [("R&D", 0, 3), ("&", 3, 4), ("so", 4, 5)]),
        ({"東": "toe kyo"}, "A.東", [("A", 0, 1), ("東", 1, 3)]),
        ({"東京": "toe kyo"}, "在東京。", [("在", 0, 1), ("東", 1, 2), ("京", 2, 3)]),
        ({"köln": "/kˈœln kˈœln/"}, "(Köln), ja", [("Köln", 0, 2), ("ja", 2, 3)]),
    ],
)
def test_times_are_of_the_words_as_written(
    entries: dict[str, str], written: str, times: list[tuple[str, float, float]]
) -> None:
    """Each spoken word is a second long."""
    pieces = Lexicon(entries, LANGUAGES, PHONEMES).apply(written, "en")
    heard = [Word(text, i, i + 1) for i, text in enumerate(words_of(spoken(pieces)))]
    assert [(w.text, w.start, w.end) for w in as_written(heard, pieces)][: len(times)] == times
    assert as_written([], pieces) == ()


TEXT = st.text(alphabet=" abAB東京.,&'\u0301")


@given(TEXT, st.dictionaries(TEXT.filter(str.strip), st.sampled_from(["x y", "z", "東", "/ab/"]), max_size=5))
def test_pieces_make_up_the_sentence_and_count_alike(sentence: str, entries: dict[str, str]) -> None:
    pieces = Lexicon(entries, LANGUAGES, PHONEMES).apply(sentence, "en")
    assert "".join(piece.written for piece in pieces) == sentence
    words = words_of(spoken(pieces))
    assert words == [word for piece in pieces for word in words_of(piece.spoken)]
    times = as_written([Word(text, i, i + 1) for i, text in enumerate(words)], pieces)
    assert all(a.end <= b.start for a, b in pairwise(times))
