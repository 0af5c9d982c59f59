"""Tokens of a transcription into words: spaces, marks, scripts without spaces, characters of several tokens."""

from collections.abc import Sequence

import pytest

from voxraga_runtime.server.engines.token_words import words_in

Times = list[tuple[str, float, float]]


def words(tokens: Sequence[bytes], language: str = "en") -> Times:
    """Each token ends a second after the one before; the segment begins at 10."""
    ids = range(len(tokens))
    made = words_in(
        ids,
        [11.0 + i for i in ids],
        10.0,
        lambda run: b"".join(tokens[i] for i in run).decode(errors="replace"),
        language,
    )
    return [(w.text, w.start, w.end) for w in made]


@pytest.mark.parametrize(
    ("tokens", "language", "wanted"),
    [
        ([b"", b" Hel", b"lo", b",", b" you"], "en", [("Hello,", 11, 14), ("you", 14, 15)]),
        ([b"First", b" one"], "en", [("First", 10, 11), ("one", 11, 12)]),
        ([b' "', b"Yes", b'!"', b" -", b" no"], "en", [('"Yes!"', 10, 13), ("no", 14, 15)]),
        ([b" na", b"\xc3", b"\xaf", b"ve"], "en", [("na\u00efve", 10, 14)]),
        (
            ["今".encode(), "天".encode()[:2], "天".encode()[2:], "。".encode()],
            "zh",
            [("今", 10, 11), ("天。", 11, 14)],
        ),
        ([], "en", []),
        ([b"...", b"\xff"], "en", []),
    ],
)
def test_words(tokens: list[bytes], language: str, wanted: Times) -> None:
    assert words(tokens, language) == wanted


def test_times_never_go_back() -> None:
    made = words_in(range(3), [5.0, 4.0, 6.0], 1.0, lambda run: "".join(" a" for _ in run), "en")
    assert [(w.start, w.end) for w in made] == [(1.0, 5.0), (5.0, 5.0), (5.0, 6.0)]
