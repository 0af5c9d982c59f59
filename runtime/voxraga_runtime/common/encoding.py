"""Samples into files and streams: wav, pcm, flac, mp3, opus (Ogg) and aac (ADTS), piece by piece.

An encoder is fed float32 mono samples at its rate: `start()`, `feed()` any number of times, `finish()`; each gives the
bytes that are ready. Streamed, they come as soon as they can and headers that would need the length say "unknown";
not streamed, they all come with `finish()` and the headers are exact.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any, Protocol, cast

import av
import numpy as np

from voxraga_runtime.common.audio import FloatArray, to_pcm16

LAME_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
AAC_RATES = (24000, 32000, 44100, 48000)  # ADTS can't say that 1024 samples come too early: keep them short
ANY_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
UNKNOWN = 0xFFFFFFFF
SAMPLE_FORMATS = {"libmp3lame": "fltp", "aac": "fltp", "libopus": "flt", "flac": "s16"}


@dataclass(frozen=True, slots=True)
class Format:
    """One response format: how it is called in HTTP, and what it can hold."""

    name: str
    content_type: str
    rates: tuple[int, ...]
    codec: str = ""
    container: str = ""
    bit_rate: int = 0
    default_rate: int = 0  # Hz; 0: the model's own
    lowest_rate: int = 0  # Hz; what a slower model is resampled to, unless the client asks for less
    streams_by_default: bool = True
    early_samples: int = 0  # that come before the first one, and that a stream has no way to announce
    whole_says: bool = False  # a whole file announces them

    def rate_for(self, native: int) -> int:
        """The rate to encode a model's samples at, if nobody asks for one: nothing of `native` is lost if it can be."""
        wanted = self.default_rate or max(native, self.lowest_rate)
        return next((r for r in self.rates if r >= wanted), self.rates[-1])

    def delay(self, rate: int, *, streamed: bool) -> float:
        """Seconds that a player starts late by: what is at 1.0 s in the samples is heard at 1.0 s and this."""
        return 0.0 if self.whole_says and not streamed else self.early_samples / rate


FORMATS = {
    f.name: f
    for f in (
        # a stream can't say that its first 1105 samples come too early: at 24 kHz they are short, and clients expect it
        Format(
            *("mp3", "audio/mpeg", LAME_RATES, "libmp3lame", "mp3", 96_000),
            lowest_rate=24_000,
            early_samples=1105,
            whole_says=True,
        ),
        Format("opus", "audio/ogg", OPUS_RATES, "libopus", "ogg", 48_000),
        Format("aac", "audio/aac", AAC_RATES, "aac", "adts", 96_000, early_samples=1024),
        # whole by default: many players (libsndfile's for one) refuse a header that doesn't tell the length
        Format("flac", "audio/flac", ANY_RATES, "flac", "flac", streams_by_default=False),
        Format("wav", "audio/wav", ANY_RATES, streams_by_default=False),
        # no header says the rate: clients of OpenAI's API take 24 kHz for granted
        Format("pcm", "audio/pcm", ANY_RATES, default_rate=24_000),
    )
}


class Encoder(Protocol):
    """See the module. One encoder makes one file."""

    def start(self) -> bytes: ...

    def feed(self, samples: FloatArray) -> bytes: ...

    def finish(self) -> bytes: ...


def make_encoder(form: Format, rate: int, *, streamed: bool) -> Encoder:
    """An encoder for mono samples at `rate` Hz, one of the format's rates."""
    if form.name == "pcm":
        return PcmEncoder()
    if form.name == "wav":
        return WavEncoder(rate, streamed=streamed)
    return LibavEncoder(form, rate, streamed=streamed)


def encode(form: Format, rate: int, samples: FloatArray) -> bytes:
    """A whole file at once."""
    encoder = make_encoder(form, rate, streamed=False)
    return encoder.start() + encoder.feed(samples) + encoder.finish()


class PcmEncoder:
    """Bare samples: signed 16 bit, little-endian, no header."""

    def start(self) -> bytes:
        return b""

    def feed(self, samples: FloatArray) -> bytes:
        return to_pcm16(samples)

    def finish(self) -> bytes:
        return b""


def wav_header(rate: int, data_bytes: int | None) -> bytes:
    """44 bytes before mono 16 bit samples; a length not known yet (None) is 0xFFFFFFFF, as streaming players expect."""
    riff, data = (UNKNOWN, UNKNOWN) if data_bytes is None else (36 + data_bytes, data_bytes)
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + layout + struct.pack("<4sI", b"data", data)


class WavEncoder:
    """RIFF wav, 16 bit."""

    def __init__(self, rate: int, *, streamed: bool) -> None:
        self._rate = rate
        self._streamed = streamed
        self._held: list[bytes] = []

    def start(self) -> bytes:
        return wav_header(self._rate, None) if self._streamed else b""

    def feed(self, samples: FloatArray) -> bytes:
        data = to_pcm16(samples)
        if self._streamed:
            return data
        self._held.append(data)
        return b""

    def finish(self) -> bytes:
        if self._streamed:
            return b""
        data = b"".join(self._held)
        return wav_header(self._rate, len(data)) + data


class _Pipe:
    """Where libav writes a streamed file: no `seek`, so that no muxer waits for the end to complete its header."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


class LibavEncoder:
    """mp3, opus, aac and flac, by the libav inside PyAV."""

    def __init__(self, form: Format, rate: int, *, streamed: bool) -> None:
        self._pipe = _Pipe() if streamed else None
        self._file = io.BytesIO()
        options = {"flush_packets": "1"}
        if form.container == "ogg":
            options["page_duration"] = "100000"  # µs; a page is what a player gets at once: 1 s unless told
        self._container: Any = av.open(self._pipe or self._file, "w", format=form.container, options=options)
        self._stream = stream = cast("Any", self._container.add_stream(form.codec, rate=rate))
        stream.layout = "mono"
        if form.bit_rate:
            stream.bit_rate = min(form.bit_rate, rate * 4)  # 64 kbit/s at 16 kHz: MPEG-2 layers end there
        stream.format = SAMPLE_FORMATS[form.codec]
        self._rate = rate
        self._samples = 0

    def start(self) -> bytes:
        self._container.start_encoding()
        return self._take()

    def feed(self, samples: FloatArray) -> bytes:
        if not len(samples):
            return b""
        kind = self._stream.format.name
        data = np.frombuffer(to_pcm16(samples), dtype="<i2") if kind == "s16" else samples
        frame = av.AudioFrame.from_ndarray(data[np.newaxis, :], format=kind, layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._samples
        self._samples += len(samples)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
        return self._take()

    def finish(self) -> bytes:
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        return self._take() if self._pipe else self._file.getvalue()

    def _take(self) -> bytes:
        return self._pipe.take() if self._pipe else b""
