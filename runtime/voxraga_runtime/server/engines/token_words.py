"""A transcription's tokens into words with their times. Pure but for the tokenizer that is given."""

from collections.abc import Callable, Iterator, Sequence

from voxraga_runtime.server.engines.base import Word

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})  # their words are not between spaces: each sign counts
BROKEN = "\ufffd"  # what a part of a character's bytes is decoded to
Decode = Callable[[Sequence[int]], str]


def words_in(
    tokens: Sequence[int], ends: Sequence[float], begin: float, decode: Decode, language: str
) -> tuple[Word, ...]:
    """A segment's words with their marks. `begin` is the segment's, `ends` are the tokens', in seconds."""
    words: list[Word] = []
    for text, start, end in _signs(tokens, ends, begin, decode):
        unspaced = language in UNSPACED and any(c.isalnum() for c in text)
        if text[:1].isspace() or unspaced or not words:
            words.append(Word(text.strip(), start, end))
        else:
            words[-1] = Word(words[-1].text + text.rstrip(), words[-1].start, end)
    return tuple(word for word in words if any(c.isalnum() for c in word.text))


def _signs(
    tokens: Sequence[int], ends: Sequence[float], begin: float, decode: Decode
) -> Iterator[tuple[str, float, float]]:
    """The smallest runs of tokens that are whole characters: text, start, end."""
    run: list[int] = []
    for token, end in zip(tokens, ends, strict=True):
        run.append(token)
        text = decode(run)
        if BROKEN not in text:
            until = max(begin, end)
            yield text, begin, until
            run, begin = [], until
