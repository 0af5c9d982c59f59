"""What is spoken: other sentences each time, so that no cache flatters."""

import itertools

from voxraga_operator.cli.bench.sentences import SENTENCES, own


def test_no_sentence_comes_twice_in_4000() -> None:
    texts = list(itertools.islice(own(), 4000))
    assert len(set(texts)) == 4000


def test_two_runs_say_other_things_of_like_lengths() -> None:
    first, second = (list(itertools.islice(own(), 400)) for _ in range(2))
    assert len(set(first) & set(second)) < 200
    lengths = [sum(map(len, texts)) / 400 for texts in (first, second)]
    assert abs(lengths[0] / lengths[1] - 1) < 0.05


def test_sentences_are_plain_ones() -> None:
    assert len(set(SENTENCES)) == len(SENTENCES) == 40
    for text in itertools.islice(own(), 40):
        assert 15 <= len(text) <= 140
        assert text.isascii()
        assert not set("{}_") & set(text)
