"""Voices as data: `voices/<name>/` with recordings of a speaker, checked before a model is asked to speak like them."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import structlog

from voxraga_runtime.common.audio import FloatArray, ResampleStream, rms, speech_rms

log = structlog.get_logger()

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
LOWEST_RATE = 16000  # Hz; below, the speaker's timbre is cut off
HIGHEST_RATE, MOST_CHANNELS = 192_000, 8  # a small file may announce, and hold, gigabytes of silence
BLOCK = 1 << 16  # frames read at once
SHORTEST, LONGEST = 2.0, 300.0  # seconds of all clips together, and of one clip
MOST_CLIPS = 32
NOTHING: FloatArray = np.zeros(0, dtype=np.float32)
QUIETEST = 10 ** (-50 / 20)  # RMS of the spoken parts


@dataclass(frozen=True, slots=True)
class Reference:
    """A named speaker: clips of mono samples, all at `rate` Hz. `digest` is of the files; licence as far as noted."""

    name: str
    clips: tuple[FloatArray, ...]
    rate: int
    digest: str
    language: str | None = None
    license: str = ""


class UnusableVoiceError(Exception):
    """Why recordings can't be a voice; the message names the file, what was found and what is needed."""


def find_references(folder: Path, rate: int) -> list[Reference]:
    """The usable voices below `folder` in order of their names; the others are named in the log and left out."""
    found = []
    for path in folders(folder):
        try:
            found.append(read_reference(path, rate))
        except UnusableVoiceError as error:
            log.warning("voice left out", voice=path.name, error=str(error))
    return found


def folders(folder: Path) -> list[Path]:
    """Where the voices below `folder` are, in order of their names."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.is_dir() and not path.name.startswith(".")]


def check(folder: Path) -> list[str]:
    """The names of the voices below `folder`. Raises UnusableVoiceError for the first that is none."""
    return [read_reference(path, LOWEST_RATE).name for path in folders(folder)]


def read_reference(folder: Path, rate: int) -> Reference:
    """Read and check one voice's clips, resampled to `rate`. Raises UnusableVoiceError."""
    if not NAME.fullmatch(folder.name):
        raise UnusableVoiceError(f"{folder.name!r} is no name for a voice: letters, digits, space, . _ - only")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    files = [p for p in files if p.resolve().is_relative_to(folder.resolve())]
    if not 1 <= len(files) <= MOST_CLIPS:
        raise UnusableVoiceError(f"{folder.name} has {len(files)} recordings; 1 to {MOST_CLIPS} are needed")
    clips = tuple(_read_clip(p, rate) for p in files)
    seconds = sum(len(c) for c in clips) / rate
    if seconds < SHORTEST:
        raise UnusableVoiceError(f"{folder.name} has {seconds:.1f} s of recordings; {SHORTEST:g} s are needed")
    digest = hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in files)).hexdigest()
    card = _card(folder)
    return Reference(folder.name, clips, rate, digest, card.get("language"), card.get("license") or "")


def _read_clip(path: Path, rate: int) -> FloatArray:
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate < LOWEST_RATE:
                raise UnusableVoiceError(f"{path.name} has {file.samplerate} Hz; at least {LOWEST_RATE} are needed")
            if file.samplerate > HIGHEST_RATE or file.channels > MOST_CHANNELS:
                found = f"{file.channels} channels at {file.samplerate} Hz"
                raise UnusableVoiceError(f"{path.name} has {found}; {MOST_CHANNELS} at {HIGHEST_RATE} are the most")
            if file.frames > LONGEST * file.samplerate:
                raise UnusableVoiceError(f"{path.name} is longer than {LONGEST:g} s")
            blocks = file.blocks(BLOCK, dtype="float32", always_2d=True)
            samples, source = np.concatenate([NOTHING, *(block.mean(axis=1) for block in blocks)]), file.samplerate
    except soundfile.SoundFileError as error:
        raise UnusableVoiceError(f"{path.name} can't be read: {error}") from None
    if not np.isfinite(samples).all():
        raise UnusableVoiceError(f"{path.name} holds samples that are not numbers")
    if rms(samples) == 0 or speech_rms(samples, source) < QUIETEST:
        raise UnusableVoiceError(f"{path.name} is silent: {speech_rms(samples, source):.1e} of full scale")
    resampler = ResampleStream(source, rate)
    return np.concatenate([resampler.feed(samples), resampler.finish()])


def _card(folder: Path) -> dict[str, str]:
    """voice.json beside the clips: {"language", "license"}, both optional."""
    try:
        card = json.loads((folder / "voice.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {k: v for k, v in card.items() if isinstance(v, str)} if isinstance(card, dict) else {}
