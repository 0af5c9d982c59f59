"""Which sentence does a recording hold? Forced alignment by pocketsphinx against a closed list of candidates.

Alignment instead of recognition: every candidate is laid over the recording and the one that fits best wins. The
acoustic model comes with the package, so the instrument needs no download and no ears. Scores are pocketsphinx's
`best_score`, a probability-like figure: right sentences by flite or espeak-ng get 0.5 to 0.75, wrong ones below 0.28.

    python -m tests.speech.judge FILE "candidate one" "candidate two" …
"""

import re
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr
from pocketsphinx import Config, Decoder

from tests.speech.audio import read

RATE = 16000  # the acoustic model's
WIDE = 1e-80  # narrow beams lose the right alignment of a voice the model was not trained on

Mono = npt.NDArray[np.float32]


@cache
def _decoder() -> Decoder:
    return Decoder(Config(lm=None, loglevel="FATAL", beam=WIDE, wbeam=1e-60, pbeam=WIDE))


def _pcm(audio: Mono, rate: int) -> bytes:
    """Half-scale 16 kHz s16le with 0.25 s before and 0.5 s after, and a whisper of noise: pure zeros have no log."""
    voice = soxr.resample(audio, rate, RATE)
    voice = voice / max(1e-6, float(np.abs(voice).max())) * 0.5
    padded = np.concatenate([np.zeros(RATE // 4), voice, np.zeros(RATE // 2)])
    padded += np.random.default_rng(0).standard_normal(len(padded)) * 1e-4
    return bytes((padded * 0.8 * 32767).clip(-32768, 32767).astype("<i2").tobytes())


def _score(pcm: bytes, sentence: str) -> float:
    words = re.sub(r"[^a-z' ]", " ", sentence.lower())
    decoder = _decoder()
    decoder.set_align_text(" ".join(words.split()))
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return float(hypothesis.best_score) if hypothesis else float("-inf")


def rank(audio: Mono, rate: int, candidates: list[str]) -> list[tuple[float, str]]:
    """Score every candidate against the recording (mono, -1..1), best first."""
    pcm = _pcm(audio, rate)
    return sorted(((_score(pcm, c), c) for c in candidates), reverse=True)


def named(audio: Mono, rate: int, candidates: list[str]) -> str:
    """The candidate that the recording holds, if it holds one of them at all."""
    return rank(audio, rate, candidates)[0][1]


def named_each(recordings: list[tuple[Mono, int]], candidates: list[list[str]]) -> list[str]:
    """`named` for many recordings, each with candidates of its own, on all cores: 0.05 s a candidate adds up."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        waves, rates = zip(*recordings, strict=True)
        return list(pool.map(named, waves, rates, candidates))


if __name__ == "__main__":
    samples, sample_rate = read(Path(sys.argv[1]).read_bytes())
    for score, sentence in rank(samples, sample_rate, sys.argv[2:]):
        print(f"{score:.3f}  {sentence}")
