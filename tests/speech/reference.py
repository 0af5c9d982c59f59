"""What flite and espeak-ng score by the same instrument, printed beside the demo voice's figures."""

import subprocess
from functools import cache

from tests.speech import judge
from tests.speech.audio import Mono, read

VOICES = {
    "flite rms": ("flite", "-voice", "rms", "-o", "/dev/stdout", "-t"),
    "flite slt": ("flite", "-voice", "slt", "-o", "/dev/stdout", "-t"),
    "espeak-ng": ("espeak-ng", "--stdout"),
}


@cache
def say(voice: str, text: str) -> tuple[Mono, int]:
    """One sentence by one of VOICES: (mono samples, sample rate)."""
    return read(subprocess.run([*VOICES[voice], text], check=True, capture_output=True).stdout)


@cache
def _right(voice: str, text: str, candidates: tuple[str, ...]) -> bool:
    return judge.named(*say(voice, text), list(candidates)) == text


def figures(sentences: list[str]) -> str:
    """How many of the sentences each reference voice gets across, among each other."""
    return ", ".join(f"{v} {sum(_right(v, s, tuple(sentences)) for s in sentences)}/{len(sentences)}" for v in VOICES)


def rhymes(trials: list[tuple[str, list[str]]]) -> str:
    """The same over (said, [said, rival])."""
    return ", ".join(f"{v} {sum(_right(v, said, tuple(pair)) for said, pair in trials)}/{len(trials)}" for v in VOICES)
