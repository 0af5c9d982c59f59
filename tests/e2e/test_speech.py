"""The demo voice through the cluster's Service says what it was asked to, in every format, and sounds clean."""

from typing import Any

import pytest

from tests.e2e.kube import Kube
from tests.e2e.speaker import speak
from tests.speech import audio, judge, reference
from tests.speech.sentences import HARVARD, MORE_HARVARD, RHYMES

pytestmark = pytest.mark.node

FORMATS: dict[str, dict[str, Any]] = {
    "wav": {"response_format": "wav"},
    "mp3": {"response_format": "mp3"},
    "wav at 24 kHz": {"response_format": "wav", "sample_rate": 24000},
}


def spoken(kube: Kube, url: str, texts: list[str], asked: dict[str, Any]) -> list[tuple[audio.Mono, int]]:
    answers = speak(kube, url, [{"model": "narrator", "input": f"{t}.", **asked} for t in texts])
    assert [a.status for a in answers] == [200] * len(texts), [a.body[:300] for a in answers if a.status != 200]
    return [audio.read(a.body) for a in answers]


@pytest.mark.parametrize("asked", FORMATS.values(), ids=FORMATS)
def test_every_harvard_sentence_is_told_apart(speaking: Kube, url: str, asked: dict[str, Any]) -> None:
    recordings = spoken(speaking, url, HARVARD, asked)
    named = [judge.named(*r, HARVARD) for r in recordings]
    print(f"\ndemo {asked}: {sum(map(str.__eq__, named, HARVARD))}/20; {reference.figures(HARVARD)}")
    assert named == HARVARD
    assert all(rate == asked.get("sample_rate", 16000) for _, rate in recordings)


@pytest.mark.parametrize("asked", FORMATS.values(), ids=FORMATS)
def test_rhymes_are_told_apart(speaking: Kube, url: str, asked: dict[str, Any]) -> None:
    trials = [(right, [right, wrong]) for pair in RHYMES for right, wrong in (pair, pair[::-1])]
    recordings = spoken(speaking, url, [right for right, _ in trials], asked)
    right = sum(judge.named(*r, pair) == said for r, (said, pair) in zip(recordings, trials, strict=True))
    print(f"\ndemo {asked}: {right}/20 rhymes; {reference.rhymes(trials)}")
    assert right >= 18


def test_sentences_nobody_chose_it_by_are_told_apart(speaking: Kube, url: str) -> None:
    named = [judge.named(*r, MORE_HARVARD) for r in spoken(speaking, url, MORE_HARVARD, FORMATS["wav"])]
    assert named == MORE_HARVARD


def test_both_voices_speak_and_differ(speaking: Kube, url: str) -> None:
    texts = HARVARD[:5]
    by_voice = {v: spoken(speaking, url, texts, {"response_format": "wav", "voice": v}) for v in ("rms", "slt")}
    for recordings in by_voice.values():
        assert [judge.named(*r, HARVARD) for r in recordings] == texts
    man, woman = (audio.pitch(*recordings[0]) for recordings in by_voice.values())
    assert man < 140, man
    assert woman > 150, woman


def test_it_sounds_clean(speaking: Kube, url: str) -> None:
    for samples, rate in spoken(speaking, url, HARVARD, FORMATS["wav"]):
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
