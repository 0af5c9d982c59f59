"""The figures of a run, computed from what became of its requests; pure."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from voxraga_operator.cli.bench.ask import Failed, Outcome, Refused, Spoken

FIRST_AUDIO = 0.7
"""Seconds until the first audio of 95 of 100 answers, at most: speech's share of the 2 s in which a voice application
has to answer (the figures of the deployments that this product follows)."""
SUCCESS = 0.99
"""The share of all requests that are spoken in full has to be above it."""
REAL_TIME = 1.0
"""Seconds of work for a second of speech have to be below it: at more, a listener waits within the speech."""


@dataclass(frozen=True)
class Spread:
    """Percentiles, in the unit of the values."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Aim:
    """One target; `value` is None where nothing could be measured of it."""

    name: str
    value: float | None
    wanted: str
    met: bool | None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Times in seconds. A figure is None where no answer came, or where the format does not tell its length."""

    elapsed: float
    requests: int
    spoken: int
    refused: dict[int, int]  # by status
    errors: dict[str, int]  # by reason
    first_audio: Spread | None
    whole: Spread | None
    real_time: Spread | None  # of each answer: its whole time by the seconds of its speech
    audio: float | None  # seconds of speech, of all answers

    @property
    def per_second(self) -> float:
        """Spoken answers a second."""
        return self.spoken / self.elapsed

    @property
    def audio_per_second(self) -> float | None:
        return None if self.audio is None else self.audio / self.elapsed

    @property
    def success(self) -> float | None:
        """The share of all requests that were spoken in full: a refused caller has heard nothing either."""
        return self.spoken / self.requests if self.requests else None

    @property
    def aims(self) -> tuple[Aim, ...]:
        first = self.first_audio.p95 if self.first_audio else None
        real = self.real_time.p95 if self.real_time else None
        return (
            Aim(
                name="first audio, p95",
                value=first,
                wanted=f"at most {FIRST_AUDIO} s",
                met=None if first is None else first <= FIRST_AUDIO,
            ),
            Aim(
                name="success",
                value=self.success,
                wanted=f"over {SUCCESS:.0%}",
                met=None if self.success is None else self.success > SUCCESS,
            ),
            Aim(
                name="real-time factor, p95",
                value=real,
                wanted=f"below {REAL_TIME:g}",
                met=None if real is None else real < REAL_TIME,
            ),
        )


def figures(outcomes: Sequence[Outcome], elapsed: float) -> Figures:
    """Of the requests that ended within `elapsed` seconds."""
    spoken = [each for each in outcomes if isinstance(each, Spoken)]
    lengths = [each.audio for each in spoken if each.audio]
    told = bool(lengths) and len(lengths) == len(spoken)
    return Figures(
        elapsed=elapsed,
        requests=len(outcomes),
        spoken=len(spoken),
        refused=dict(Counter(each.status for each in outcomes if isinstance(each, Refused))),
        errors=dict(Counter(each.why for each in outcomes if isinstance(each, Failed))),
        first_audio=spread([each.first for each in spoken]),
        whole=spread([each.whole for each in spoken]),
        real_time=spread([each.whole / each.audio for each in spoken if each.audio]) if told else None,
        audio=sum(lengths) if told else None,
    )


def spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(percentile(values, 0.50), percentile(values, 0.95), percentile(values, 0.99))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
