"""A run as a table for people and as JSON for programs."""

import json
from dataclasses import asdict, dataclass

from voxraga_operator.cli.bench.figures import Aim, Figures, Spread

_UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured, and how."""

    url: str
    clients: int
    format: str
    figures: Figures


def as_json(run: Run) -> str:
    """Times in seconds, shares from 0 to 1; null is what could not be measured."""
    figures = run.figures
    told = {
        **asdict(run),
        "figures": {
            **asdict(figures),
            "per_second": figures.per_second,
            "success": figures.success,
            "audio_per_second": figures.audio_per_second,
        },
        "targets": [asdict(aim) for aim in figures.aims],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_table(run: Run) -> str:
    return "\n\n".join("\n".join(part) for part in (_counts(run), _times(run.figures), _aims(run.figures)))


def _counts(run: Run) -> list[str]:
    figures = run.figures
    refused = ", ".join(f"{count} with {status}" for status, count in sorted(figures.refused.items()))
    many = "client" if run.clients == 1 else "clients"
    lines = [
        f"{run.url}, {run.clients} {many}, {figures.elapsed:.1f} s, {run.format}",
        "",
        f"requests  {figures.requests:7}",
        f"spoken    {figures.spoken:7}  {figures.per_second:.2f} a second",
        f"refused   {sum(figures.refused.values()):7}  {refused}".rstrip(),
        f"errors    {sum(figures.errors.values()):7}",
    ]
    return [*lines, *(f"{count:17}  {why}" for why, count in sorted(figures.errors.items(), key=lambda each: -each[1]))]


def _times(figures: Figures) -> list[str]:
    unknown = figures.spoken and figures.audio is None
    remedy = "unknown: this format does not tell its length; --format pcm or wav does"
    speech = f"{figures.audio or 0:.1f} s, {figures.audio_per_second or 0:.2f} s a second"
    return [
        f"{'':20}{'p50':>9}{'p95':>9}{'p99':>9}",
        _row("first audio, s", figures.first_audio),
        _row("whole answer, s", figures.whole),
        _row("real-time factor", figures.real_time),
        f"{'speech':20}  {remedy if unknown else speech}",
    ]


def _row(name: str, values: Spread | None) -> str:
    cells = ["-"] * 3 if values is None else [f"{each:.3f}" for each in (values.p50, values.p95, values.p99)]
    return f"{name:20}" + "".join(f"{cell:>9}" for cell in cells)


def _aims(figures: Figures) -> list[str]:
    return [f"{'target':24}{'wanted':16}measured", *(_aim(aim) for aim in figures.aims)]


def _aim(aim: Aim) -> str:
    verdict = {True: "met", False: "not met", None: "not measured"}[aim.met]
    return f"{aim.name:24}{aim.wanted:16}{_measured(aim):12}{verdict}"


def _measured(aim: Aim) -> str:
    if aim.value is None:
        return _UNKNOWN
    return f"{aim.value:.2%}" if aim.name == "success" else f"{aim.value:.3f}"
