"""The figures, from what became of the requests."""

import pytest

from voxraga_operator.cli.bench import report
from voxraga_operator.cli.bench.ask import Failed, Outcome, Refused, Spoken
from voxraga_operator.cli.bench.figures import Figures, Spread, figures, percentile


def spoken(first: float = 0.1, whole: float = 1.0, audio: float | None = 2.0) -> Spoken:
    return Spoken(first=first, whole=whole, audio=audio)


REFUSED, FULL, BROKEN = Refused(status=429, wait=1), Refused(status=503, wait=1), Failed("500: no")


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.5, 1), (1, 0.99, 1), (2, 0.5, 1), (2, 0.95, 2), (100, 0.5, 50), (100, 0.95, 95), (100, 0.99, 99)],
)
def test_percentiles_are_values_that_were_measured(count: int, share: float, expected: int) -> None:
    assert percentile(list(range(count, 0, -1)), share) == expected


def test_what_a_run_gives() -> None:
    found = figures([spoken(0.1, 1.0, 2.0), spoken(0.3, 2.0, 8.0), REFUSED, FULL, BROKEN, BROKEN, REFUSED, REFUSED], 4)
    assert (found.requests, found.spoken, found.per_second, found.success) == (8, 2, 0.5, 0.25)
    assert found.refused == {429: 3, 503: 1}
    assert found.errors == {"500: no": 2}
    assert found.first_audio == Spread(0.1, 0.3, 0.3)
    assert found.whole == Spread(1.0, 2.0, 2.0)
    assert found.real_time == Spread(0.25, 0.5, 0.5)
    assert (found.audio, found.audio_per_second) == (10.0, 2.5)


def met(found: Figures) -> list[bool | None]:
    return [aim.met for aim in found.aims]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([spoken()] * 100, [True, True, True]),
        ([spoken(first=0.7)] * 100, [True, True, True]),
        ([spoken(first=0.71)] * 6 + [spoken()] * 94, [False, True, True]),
        ([spoken(first=0.71)] * 5 + [spoken()] * 95, [True, True, True]),
        ([spoken()] * 99 + [REFUSED], [True, False, True]),
        ([spoken()] * 199 + [BROKEN], [True, True, True]),
        ([spoken(whole=2.0)] * 100, [True, True, False]),
        ([spoken(audio=None)] * 100, [True, True, None]),
        ([REFUSED, BROKEN], [None, False, None]),
    ],
)
def test_the_targets(outcomes: list[Outcome], expected: list[bool | None]) -> None:
    assert met(figures(outcomes, 1)) == expected


def test_a_length_that_some_answers_do_not_tell_is_unknown() -> None:
    found = figures([spoken(), spoken(audio=None)], 1)
    assert (found.audio, found.audio_per_second, found.real_time) == (None, None, None)


def test_the_table() -> None:
    outcomes: list[Outcome] = [spoken(0.1, 1.0, 2.0), spoken(0.9, 2.0, 8.0), REFUSED, BROKEN]
    run = report.Run(url="http://a/v1/audio/speech", clients=2, format="pcm", figures=figures(outcomes, 4))
    assert report.as_table(run).splitlines() == [
        "http://a/v1/audio/speech, 2 clients, 4.0 s, pcm",
        "",
        "requests        4",
        "spoken          2  0.50 a second",
        "refused         1  1 with 429",
        "errors          1",
        "                1  500: no",
        "",
        "                          p50      p95      p99",
        "first audio, s          0.100    0.900    0.900",
        "whole answer, s         1.000    2.000    2.000",
        "real-time factor        0.250    0.500    0.500",
        "speech                10.0 s, 2.50 s a second",
        "",
        "target                  wanted          measured",
        "first audio, p95        at most 0.7 s   0.900       not met",
        "success                 over 99%        50.00%      not met",
        "real-time factor, p95   below 1         0.500       met",
    ]


def test_the_table_of_a_format_that_tells_no_length() -> None:
    run = report.Run(url="u", clients=1, format="mp3", figures=figures([spoken(audio=None)], 1))
    table = report.as_table(run)
    assert "1 client," in table
    assert "unknown: this format does not tell its length; --format pcm or wav does" in table
    assert "real-time factor, p95   below 1         unknown     not measured" in table
