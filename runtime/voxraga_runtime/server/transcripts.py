"""What was heard, and how it is written down: json, text, srt, vtt, verbose_json and events. Pure."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from voxraga_runtime.common.audio import FloatArray

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
UNDETERMINED = "und"  # ISO 639's code of a language nobody named


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it was said, in seconds."""

    word: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech; `words` only where they were asked for."""

    start: float
    end: float
    text: str
    words: Sequence[Word] = ()


@runtime_checkable
class Transcriber(Protocol):
    """A service that hears. `audio` is float32, mono, 16 kHz; raises common.errors; ends early when it is cancelled."""

    async def transcribe(
        self, audio: FloatArray, *, language: str | None, prompt: str | None, temperature: float, words: bool
    ) -> Sequence[Segment]: ...


@dataclass(frozen=True, slots=True)
class Transcript:
    """The whole of it. `seconds` is the recording's length."""

    segments: Sequence[Segment]
    seconds: float
    language: str | None
    temperature: float = 0.0

    @property
    def text(self) -> str:
        return " ".join(text for s in self.segments if (text := _line(s.text)))

    @property
    def _usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": round(self.seconds, 3)}

    def json(self) -> dict[str, Any]:
        return {"text": self.text, "usage": self._usage}

    def verbose(self, *, segments: bool, words: bool) -> dict[str, Any]:
        """OpenAI's verbose_json, without the figures of a decoder that only Whisper itself has."""
        made: dict[str, Any] = {
            "task": "transcribe",
            "language": self.language or UNDETERMINED,
            "duration": round(self.seconds, 3),
            "text": self.text,
            "usage": self._usage,
        }
        if segments:
            made["segments"] = [
                {
                    "id": number,
                    "seek": 0,
                    "start": round(s.start, 3),
                    "end": round(s.end, 3),
                    "text": s.text,
                    "tokens": [],
                    "temperature": self.temperature,
                }
                for number, s in enumerate(self.segments)
            ]
        if words:
            made["words"] = [
                {"word": w.word, "start": round(w.start, 3), "end": round(w.end, 3)}
                for s in self.segments
                for w in s.words
            ]
        return made

    def srt(self) -> str:
        return "".join(
            f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{_caption(s.text)}\n\n"
            for number, s in enumerate(self.segments, 1)
        )

    def vtt(self) -> str:
        cues = (f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{_caption(s.text)}\n\n" for s in self.segments)
        return "WEBVTT\n\n" + "".join(cues)

    def events(self) -> Iterator[str]:
        """transcript.text.delta for each segment, transcript.text.done with the whole."""
        lines = [line for s in self.segments if (line := _line(s.text))]
        for number, line in enumerate(lines):
            yield _event({"type": "transcript.text.delta", "delta": f" {line}" if number else line})
        yield _event({"type": "transcript.text.done", "text": self.text, "usage": self._usage})


def _line(text: str) -> str:
    return " ".join(text.split())


def _caption(text: str) -> str:
    """On one line (an empty one would end the cue), and nothing that looks like the times."""
    return _line(text).replace("-->", "->")


def _clock(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
