"""What the bench takes for an answer, and what it refuses."""

import io
import wave

import numpy as np
import pytest

from tests.bench.servers import BenchError, read

RATE = 8000
HEADER = 44


def wav(level: float, seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    tone = level * np.sin(np.arange(int(RATE * seconds)) * 0.3)
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((tone * 32767).astype("<i2").tobytes())
    return file.getvalue()


def test_first_audio_is_the_first_sample_not_the_header() -> None:
    body = wav(0.5)
    answer = read(body, [(0.1, HEADER), (0.3, HEADER + 8000), (0.4, len(body))], "server")
    assert (answer.first, answer.total, answer.seconds) == (0.3, 0.4, 1.0)
    assert answer.pieces == [(0.3, 0.5), (0.4, 0.5)]


def test_a_header_and_samples_in_one_piece() -> None:
    body = wav(0.5)
    assert read(body, [(0.2, len(body))], "server").pieces == [(0.2, 1.0)]


@pytest.mark.parametrize("body", [wav(0.0), wav(0.5, 0.0), b"<html>", b""])
def test_silence_and_other_things_are_no_answer(body: bytes) -> None:
    with pytest.raises(BenchError):
        read(body, [(0.1, len(body))], "server")
