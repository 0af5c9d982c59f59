"""How much speech an answer holds, told from its bytes as they come; nothing is decoded."""

import struct
from email.message import Message
from typing import Protocol

OPENAI_RATE = 24_000
"""Hz of pcm where the server names none: what OpenAI's has (its reference: 24 kHz, 16 bit, mono)."""

_PCM_BYTES = 2
_RIFF, _CHUNK = 12, 8
_BYTE_RATE = slice(8, 12)
"""Where fmt has it, counted from the chunk's begin."""
_UNTOLD = (0, 0xFFFFFFFF)
"""The sizes of a chunk whose writer did not know its length yet: it goes to the end of the stream."""


class Audio(Protocol):
    """The body of one answer."""

    def take(self, data: bytes) -> None:
        """The next bytes of it."""

    @property
    def begun(self) -> bool:
        """Whether some of what was taken can be heard."""

    @property
    def seconds(self) -> float | None:
        """How long all that was taken sounds; None where the format does not say."""


class Pcm:
    """Mono 16 bit samples at `rate` Hz, from the first byte on."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._bytes = 0

    def take(self, data: bytes) -> None:
        self._bytes += len(data)

    @property
    def begun(self) -> bool:
        return self._bytes >= _PCM_BYTES

    @property
    def seconds(self) -> float:
        return self._bytes // _PCM_BYTES / self._rate


class Wav:
    """RIFF: its header is no audio, and says how many bytes a second has."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._byte_rate = 0
        self._declared: int | None = None  # bytes of samples, as the header has it
        self._samples = 0  # bytes

    def take(self, data: bytes) -> None:
        if self._declared is None:
            self._head += data
            self._read_head()
        else:
            self._samples += len(data)

    def _read_head(self) -> None:
        at = _RIFF
        while len(self._head) >= at + _CHUNK:
            name, size = struct.unpack_from("<4sI", self._head, at)
            at += _CHUNK
            if name == b"data":
                self._declared, self._samples = size, len(self._head) - at
                return
            if name == b"fmt ":
                self._byte_rate = int.from_bytes(self._head[at:][_BYTE_RATE], "little")
            at += size + size % 2

    @property
    def begun(self) -> bool:
        return self._samples > 0

    @property
    def seconds(self) -> float | None:
        if self._declared is None or not self._byte_rate:
            return None
        known = self._samples if self._declared in _UNTOLD else min(self._samples, self._declared)
        return known / self._byte_rate


class Encoded:
    """mp3, opus and the like: the first byte counts as audio, the length stays unknown."""

    begun = False
    seconds = None

    def take(self, data: bytes) -> None:
        self.begun = self.begun or bool(data)


def audio(response_format: str, headers: Message) -> Audio:
    """What reads the body of an answer with these headers (http.client's are a Message)."""
    if response_format == "pcm":
        return Pcm(rate(headers))
    return Wav() if response_format == "wav" else Encoded()


def rate(headers: Message) -> int:
    """Hz of a pcm answer: X-Sample-Rate, or the content type's (audio/L16;rate=22050), or OpenAI's."""
    for told in (headers.get("X-Sample-Rate"), headers.get_param("rate")):
        if isinstance(told, str) and told.isdecimal() and int(told):
            return int(told)
    return OPENAI_RATE
