"""Words over tokens: equal counts, joined and split words, numbers, signs without spaces."""

import pytest

from voxraga_runtime.server.engines.words import align


def times(sentence: str, symbols: str, frames: list[float] | None = None) -> list[tuple[str, float, float]]:
    """Symbols: _ is a token without sound; each token is one second long unless told."""
    tokens = ["" if s == "_" else s for s in symbols]
    return [(w.text, w.start, w.end) for w in align(sentence, tokens, frames or [1.0] * len(tokens), 1.0)]


def test_one_for_one() -> None:
    assert times("Oh, well.", "oh_ wel_") == [("Oh", 0, 2), ("well", 4, 7)]


def test_blanks_belong_to_the_word_around_them() -> None:
    assert times("ab c", "_a_b_ _c_") == [("ab", 1, 4), ("c", 7, 8)]


def test_frames_are_lengths() -> None:
    assert times("a b", "a b", [2, 3, 4]) == [("a", 0, 2), ("b", 5, 9)]


def test_two_written_words_in_one_spoken() -> None:
    assert times("sound of the sea", "saund əvðə si") == [
        ("sound", 0, 5),
        ("of", 6, 7.6),
        ("the", 7.6, 10),
        ("sea", 11, 13),
    ]


def test_a_number_is_several_spoken_words() -> None:
    assert times("I have 25 cats", "ai hæv twɛnti faiv kæts")[2:] == [("25", 7, 18), ("cats", 19, 23)]


def test_signs_without_spaces_share_their_time() -> None:
    assert [t for t, _, _ in times("今天好。", "abcdef")] == ["今", "天", "好"]
    assert times("今天好。", "abcdef")[-1] == ("好", 4, 6)


@pytest.mark.parametrize(("sentence", "symbols"), [("", ""), ("...", "___"), ("a", "___"), ("...", "abc")])
def test_nothing_to_align(sentence: str, symbols: str) -> None:
    assert times(sentence, symbols) == []


def test_no_pairing_is_possible() -> None:
    assert times("a", " ".join("x" * 20)) == [("a", 0, 39)]
