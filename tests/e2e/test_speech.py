"""The demo voice through the cluster's Service says what it was asked to, in every format, and sounds clean."""

from typing import Any

import pytest

from tests.e2e.kube import Kube
from tests.e2e.speaker import speak
from tests.speech import audio, judge, reference
from tests.speech.sentences import HARVARD, MORE_HARVARD, RHYMES

pytestmark = pytest.mark.node

FORMATS: dict[str, tuple[dict[str, Any], int]] = {  # what is asked for, and the sample rate that comes back
    "wav": ({"response_format": "wav"}, 16000),
    "mp3": ({"response_format": "mp3"}, 24000),
    "wav at 24 kHz": ({"response_format": "wav", "sample_rate": 24000}, 24000),
}
WAV = {"response_format": "wav"}


def spoken(kube: Kube, url: str, texts: list[str], asked: dict[str, Any]) -> list[tuple[audio.Mono, int]]:
    answers = speak(kube, url, [{"model": "narrator", "input": f"{t}.", **asked} for t in texts])
    assert [a.status for a in answers] == [200] * len(texts), [a.body[:300] for a in answers if a.status != 200]
    return [audio.read(a.body) for a in answers]


Trials = tuple[tuple[str, tuple[str, ...]], ...]  # what is said, and what a judge has to choose from

AMONG_TWENTY: Trials = tuple((said, tuple(HARVARD)) for said in HARVARD)
AMONG_OTHERS: Trials = tuple((said, tuple(MORE_HARVARD)) for said in MORE_HARVARD)
AMONG_RHYMES: Trials = tuple((said, (said, rival)) for pair in RHYMES for said, rival in (pair, pair[::-1]))


def told_apart(recordings: list[tuple[audio.Mono, int]], trials: Trials) -> list[bool]:
    named = judge.named_each(recordings, [list(candidates) for _, candidates in trials])
    return [name == said for name, (said, _) in zip(named, trials, strict=True)]


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(("trials", "least"), [(AMONG_TWENTY, 20), (AMONG_RHYMES, 18)], ids=["harvard", "rhymes"])
def test_the_asked_sentence_is_heard(
    speaking: Kube, url: str, form: tuple[dict[str, Any], int], trials: Trials, least: int
) -> None:
    asked, rate = form
    recordings = spoken(speaking, url, [said for said, _ in trials], asked)
    assert {r for _, r in recordings} == {rate}
    right = sum(told_apart(recordings, trials))
    print(f"\ndemo {asked}: {right}/{len(trials)}; {reference.figures(trials)}")
    assert right >= least


def test_sentences_nobody_chose_it_by_are_heard(speaking: Kube, url: str) -> None:
    right = sum(told_apart(spoken(speaking, url, MORE_HARVARD, WAV), AMONG_OTHERS))
    print(f"\ndemo, other sentences: {right}/20")
    assert right >= 19


def test_both_voices_speak_and_differ(speaking: Kube, url: str) -> None:
    texts = HARVARD[:5]
    by_voice = {v: spoken(speaking, url, texts, {"response_format": "wav", "voice": v}) for v in ("rms", "slt")}
    for recordings in by_voice.values():
        assert [judge.named(*r, HARVARD) for r in recordings] == texts
    man, woman = (audio.pitch(*recordings[0]) for recordings in by_voice.values())
    assert man < 140, man
    assert woman > 150, woman


def test_it_sounds_clean(speaking: Kube, url: str) -> None:
    for samples, rate in spoken(speaking, url, HARVARD, WAV):
        heard = audio.measure(samples, rate)
        assert heard.clipped == 0
        assert heard.peak < 0.99
        assert -30 < heard.rms_dbfs < -12
        assert abs(heard.dc) < 0.005
        assert heard.leading_silence < 0.35
        assert heard.trailing_silence < 0.45
        assert heard.longest_gap < 0.4
        assert heard.worst_click < 4
        assert heard.hum_db < -25
        assert 1.2 < heard.seconds < 5


def test_speed_changes_the_length_and_not_the_pitch(speaking: Kube, url: str) -> None:
    text = [HARVARD[12]]
    normal, fast, slow = (
        spoken(speaking, url, text, {"response_format": "wav", "speed": s})[0] for s in (1.0, 1.5, 0.75)
    )
    assert len(fast[0]) == pytest.approx(len(normal[0]) / 1.5, rel=0.12)
    assert len(slow[0]) == pytest.approx(len(normal[0]) / 0.75, rel=0.12)
    assert audio.pitch(*fast) == pytest.approx(audio.pitch(*normal), rel=0.15)
    assert judge.named(*fast, HARVARD) == judge.named(*slow, HARVARD) == text[0]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a speed of 9": ({"input": "Hello", "speed": 9}, "speed"),
    "an empty text": ({"input": ""}, "input"),
    "a blank text": ({"input": "  \n"}, "input"),
    "a text too long": ({"input": "a " * 4000}, "input"),
    "a voice that is not there": ({"input": "Hello", "voice": "nobody"}, "voice"),
    "a format that is not there": ({"input": "Hello", "response_format": "midi"}, "response_format"),
    "a speed in words": ({"input": "Hello", "speed": "fast"}, "speed"),
}


def test_bad_requests_are_told_what_is_wrong(speaking: Kube, url: str) -> None:
    answers = speak(speaking, url, [{"model": "narrator", **body} for body, _ in REFUSED.values()])
    for answer, (what, (_, field)) in zip(answers, REFUSED.items(), strict=True):
        assert answer.status == 400, what
        assert answer.json()["error"]["param"] == field, what
