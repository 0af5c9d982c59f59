"""What was heard, and how it is written down: json, text, srt, vtt, verbose_json and events. Pure."""

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from voxraga_runtime.server.engines.transcribe import Segment

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


@dataclass(frozen=True, slots=True)
class Transcript:
    """The whole of it. `seconds` is the recording's length."""

    segments: Sequence[Segment]
    seconds: float
    language: str

    @property
    def text(self) -> str:
        return " ".join(text for s in self.segments if (text := line(s.text)))

    @property
    def _usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": round(self.seconds, 3)}

    def json(self) -> dict[str, Any]:
        return {"text": self.text, "usage": self._usage}

    def verbose(self, granularities: Container[str] = ("segment",)) -> dict[str, Any]:
        """OpenAI's verbose_json, without the likelihoods, which not every model has."""
        parts = {"words": self._words(), "segments": self._segments()}
        return {
            "task": "transcribe",
            "language": self.language,
            "duration": round(self.seconds, 3),
            "text": self.text,
            "usage": self._usage,
            **{name: part for name, part in parts.items() if name.removesuffix("s") in granularities},
        }

    def _words(self) -> list[dict[str, Any]]:
        return [
            {"word": w.text, "start": round(w.start, 3), "end": round(w.end, 3)} for s in self.segments for w in s.words
        ]

    def _segments(self) -> list[dict[str, Any]]:
        return [
            {
                "id": number,
                "seek": 0,
                "start": round(s.start, 3),
                "end": round(s.end, 3),
                "text": s.text,
                "tokens": list(s.tokens),
                "temperature": s.temperature,
                "compression_ratio": round(s.compression_ratio, 3),
            }
            for number, s in enumerate(self.segments)
        ]

    def srt(self) -> str:
        return "".join(
            f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{_caption(s.text)}\n\n"
            for number, s in enumerate(self.segments, 1)
        )

    def vtt(self) -> str:
        cues = (f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{_caption(s.text)}\n\n" for s in self.segments)
        return "WEBVTT\n\n" + "".join(cues)

    def done(self) -> str:
        """The last event of a stream."""
        return _event({"type": "transcript.text.done", "text": self.text, "usage": self._usage})


def delta(text: str, *, first: bool) -> str:
    """The event of one more segment; the deltas make up the text."""
    return _event({"type": "transcript.text.delta", "delta": text if first else f" {text}"})


def failed(body: dict[str, Any]) -> str:
    """The event of an error in the middle."""
    return _event({"type": "error", **body})


def line(text: str) -> str:
    return " ".join(text.split())


def _caption(text: str) -> str:
    """On one line (an empty one would end the cue), and nothing that looks like the times."""
    return line(text).replace("-->", "->")


def _clock(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
