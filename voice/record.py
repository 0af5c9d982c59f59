"""Let flite's voices read sentences: OUT/wavs/*.wav and OUT/metadata.csv, the corpus the demo voice is trained on.

    python record.py OUT

Needs Debian's flite (its voices slt and rms are built from recorded people), fortunes (prose) and wamerican
(single words), and soundfile. The corpus is a function of those packages' versions and of SEED.
"""

import concurrent.futures
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

SEED = 7
VOICES = ("rms", "slt")
PROSE, WORDS = 3200, 1200  # distinct texts; each voice reads a window of two thirds, so a third is read by both
SHORTEST, LONGEST = 25, 90  # characters
LONGEST_SECONDS = 8.0
SILENCE = 0.01  # amplitude below which the ends are cut


def prose() -> list[str]:
    """Every plain English sentence of the fortune files, once, in an order fixed by SEED."""
    sentences: set[str] = set()
    for path in sorted(Path("/usr/share/games/fortunes").iterdir()):
        if path.suffix or path.is_symlink() or not path.is_file():
            continue
        for paragraph in re.split(r"\n(?:%|\s*)\n", path.read_text(errors="ignore")):
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
                if SHORTEST <= len(sentence) <= LONGEST and re.fullmatch(r"[A-Z][A-Za-z ,.'!?;-]+", sentence):
                    sentences.add(sentence)
    ordered = sorted(sentences)
    random.shuffle(ordered)
    return ordered[:PROSE]


def word_lists() -> list[str]:
    """Lines of random words: phones in neighbourhoods that prose rarely has."""
    words = [w for w in Path("/usr/share/dict/words").read_text().split() if re.fullmatch(r"[a-z]{3,9}", w)]
    return [" ".join(random.choices(words, k=random.randint(5, 9))).capitalize() + "." for _ in range(WORDS)]


def record(voice: str, text: str, path: Path) -> float:
    """Read one text; trim the silence at both ends; return the length in seconds."""
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, capture_output=True)
    audio, rate = sf.read(path)
    loud = np.flatnonzero(np.abs(audio) > SILENCE)
    audio = audio[max(0, loud[0] - rate // 20) : loud[-1] + rate * 3 // 20]
    sf.write(path, audio, rate, subtype="PCM_16")
    return len(audio) / rate


def main(out: Path) -> None:
    (out / "wavs").mkdir(parents=True, exist_ok=True)
    random.seed(SEED)
    texts = prose() + word_lists()
    random.shuffle(texts)
    window = len(texts) * 2 // 3
    readings = [("rms", i) for i in range(window)] + [("slt", i) for i in range(len(texts) - window, len(texts))]

    def one(reading: tuple[str, int]) -> tuple[str, float]:
        voice, i = reading
        name = f"wavs/{voice}-{i:05d}.wav"
        return f"{name}|{texts[i]}|{voice}\n", record(voice, texts[i], out / name)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        rows = list(pool.map(one, readings))
    kept = [row for row, seconds in rows if seconds < LONGEST_SECONDS]
    (out / "metadata.csv").write_text("audio_file|text|speaker_name\n" + "".join(kept))
    print(f"{len(texts)} texts, {len(kept)} recordings, {sum(s for _, s in rows) / 3600:.2f} h")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
