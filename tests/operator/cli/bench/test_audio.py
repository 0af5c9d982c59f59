"""How long an answer sounds, from its bytes, however they are cut."""

import io
import wave
from email.message import Message

import pytest

from voxraga_operator.cli.bench.audio import Wav, audio, rate


def headers(**values: str) -> Message:
    made = Message()
    for name, value in values.items():
        made[name.replace("_", "-")] = value
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 24_000),
        ({"Content_Type": "audio/pcm"}, 24_000),
        ({"Content_Type": "audio/L16;rate=22050;channels=1"}, 22_050),
        ({"Content_Type": "audio/pcm", "x_sample_rate": "16000"}, 16_000),
        ({"X_Sample_Rate": "fast"}, 24_000),
        ({"X_Sample_Rate": "0"}, 24_000),
    ],
)
def test_the_rate_of_pcm(given: dict[str, str], expected: int) -> None:
    assert rate(headers(**given)) == expected


def test_pcm_counts_whole_samples() -> None:
    heard = audio("pcm", headers(X_Sample_Rate="8000"))
    heard.take(b"\0")
    assert not heard.begun
    heard.take(bytes(8000))
    assert heard.begun
    assert heard.seconds == 4000 / 8000


def written(*, rate: int, channels: int, frames: int) -> bytes:
    kept = io.BytesIO()
    with wave.open(kept, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * channels * frames))
    return kept.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("piece", [1, 7, 44, 45, 10_000])
def test_a_wav_file_in_pieces(channels: int, piece: int) -> None:
    file = written(rate=22_050, channels=channels, frames=2205)
    heard = audio("wav", headers())
    for start in range(0, len(file), piece):
        heard.take(file[start : start + piece])
        assert heard.begun == (start + piece > 44)
    assert heard.seconds == pytest.approx(0.1)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_wav_file_goes_to_its_end(size: int) -> None:
    file = written(rate=8000, channels=1, frames=4000)
    heard = Wav()
    heard.take(file[:40] + size.to_bytes(4, "little") + file[44:])
    assert heard.seconds == 0.5


def test_what_follows_the_samples_is_no_audio() -> None:
    heard = Wav()
    heard.take(written(rate=8000, channels=1, frames=4000) + b"LIST" + bytes(4000))
    assert heard.seconds == 0.5


def test_what_is_no_wav_file_has_no_length() -> None:
    heard = Wav()
    heard.take(bytes(1000))
    assert (heard.begun, heard.seconds) == (False, None)


def test_other_formats_begin_with_their_first_byte_and_tell_no_length() -> None:
    heard = audio("mp3", headers())
    assert not heard.begun
    heard.take(b"\xff")
    assert (heard.begun, heard.seconds) == (True, None)
