"""Every format, whole and streamed, decoded and measured."""

import struct
from collections.abc import Iterator

import numpy as np
import pytest

from tests.speech.audio import read
from voxraga_runtime.common.audio import rms
from voxraga_runtime.common.encoding import FORMATS, encode, make_encoder

SECONDS = 4.0
CASES = [(name, rate) for name, form in FORMATS.items() if name != "pcm" for rate in form.rates]


def speechlike(rate: int, seconds: float = SECONDS) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    wave = np.sin(2 * np.pi * 180 * time) + 0.5 * np.sin(2 * np.pi * 720 * time + 1)
    return (0.2 * wave * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def streamed(name: str, rate: int, samples: np.ndarray) -> Iterator[bytes]:
    encoder = make_encoder(FORMATS[name], rate, streamed=True)
    yield encoder.start()
    for piece in np.array_split(samples, 8):
        yield encoder.feed(piece)
    yield encoder.finish()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("name", "rate"), CASES)
def test_decodes_to_what_went_in(name: str, rate: int, whole: bool) -> None:
    samples = speechlike(rate)
    data = encode(FORMATS[name], rate, samples) if whole else b"".join(streamed(name, rate, samples))
    decoded, decoded_rate = read(data)
    assert decoded_rate == (48000 if name == "opus" else rate)  # Opus always decodes at 48 kHz
    # libmp3lame and aac put 1105 and 1024 samples in front; only a whole mp3 can say so
    slack = 0.07 if rate < 24000 and name == "mp3" and not whole else 0.02
    assert len(decoded) / decoded_rate == pytest.approx(SECONDS, rel=slack)
    padding = len(decoded) / decoded_rate / SECONDS
    level = 0.95 if name == "mp3" else 1.0  # libmp3lame turns everything down by this, against clipping
    assert rms(decoded) * padding**0.5 == pytest.approx(rms(samples) * level, rel=0.03)
    assert np.abs(decoded).max() < 1


@pytest.mark.parametrize("name", FORMATS)
def test_streamed_bytes_come_before_the_end(name: str) -> None:
    pieces = list(streamed(name, FORMATS[name].rate_for(16000), speechlike(16000)))
    assert all(len(p) > 0 for p in pieces[2:-1])


@pytest.mark.parametrize("name", FORMATS)
def test_no_samples_make_no_error(name: str) -> None:
    encoder = make_encoder(FORMATS[name], FORMATS[name].rate_for(16000), streamed=True)
    encoder.start()
    assert encoder.feed(np.zeros(0, dtype=np.float32)) == b""


@pytest.mark.parametrize(("stream", "sizes"), [(False, (36 + 200, 200)), (True, (0xFFFFFFFF, 0xFFFFFFFF))])
def test_wav_header_is_exact_or_says_unknown(stream: bool, sizes: tuple[int, int]) -> None:
    encoder = make_encoder(FORMATS["wav"], 24000, streamed=stream)
    data = encoder.start() + encoder.feed(np.zeros(100, dtype=np.float32)) + encoder.finish()
    fields = struct.unpack("<4sI4s4sIHHIIHH4sI", data[:44])
    assert fields == (b"RIFF", sizes[0], b"WAVE", b"fmt ", 16, 1, 1, 24000, 48000, 2, 16, b"data", sizes[1])
    assert len(data) == 44 + 200


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("mp3", 16000, 24000),
        ("mp3", 44100, 44100),
        ("opus", 22050, 24000),
        ("aac", 16000, 24000),
        ("pcm", 16000, 24000),
    ],
)
def test_default_rate_loses_nothing(name: str, wanted: int, found: int) -> None:
    assert FORMATS[name].rate_for(wanted) == found
