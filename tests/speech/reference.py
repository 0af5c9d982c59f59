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


def say(voice: str, text: str) -> tuple[Mono, int]:
    """One sentence by one of VOICES: (mono samples, sample rate)."""
    return read(subprocess.run([*VOICES[voice], text], check=True, capture_output=True).stdout)


@cache
def figures(trials: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    """How many of (said, candidates) each reference voice gets across."""
    texts, candidates = [said for said, _ in trials], [list(c) for _, c in trials]
    named = {v: judge.named_each([say(v, text) for text in texts], candidates) for v in VOICES}
    return ", ".join(f"{v} {sum(map(str.__eq__, found, texts))}/{len(texts)}" for v, found in named.items())
