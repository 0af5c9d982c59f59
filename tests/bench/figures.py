"""Statistics of trials and the table they end in; nothing here measures anything."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Unit:
    """How a number is written: `scale` turns it into the unit, `places` are decimals."""

    name: str
    scale: float = 1.0
    places: int = 2

    def write(self, value: float) -> str:
        return f"{value * self.scale:.{self.places}f}"


SECONDS = Unit("s")
MILLISECONDS = Unit("ms", 1000, 0)
SPEED = Unit("s/s")
PERCENT = Unit("%", 100, 1)
MEBIBYTES = Unit("MiB", 1 / (1 << 20), 0)
UNITS = {unit.name: unit for unit in (SECONDS, MILLISECONDS, SPEED, PERCENT, MEBIBYTES)}


@dataclass(slots=True)
class Row:
    """One line: what was measured of both servers, in which unit, and what was aimed at."""

    name: str
    unit: Unit
    aim: str = ""
    inverse: bool = False  # the ratio is theirs / ours: how many times shorter
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)


def stall(arrivals: Sequence[tuple[float, float]]) -> float:
    """Seconds that a listener who plays from the first piece on waits for later ones.

    `arrivals` are (when, seconds of audio) of each piece, in order.
    """
    waited, played_until = 0.0, 0.0
    for index, (when, seconds) in enumerate(arrivals):
        if index and when > played_until:
            waited += when - played_until
        played_until = max(when, played_until) + seconds
    return waited


def summary(values: Sequence[float], unit: Unit) -> str:
    """Median, and (least to most) where there were several trials."""
    if not values:
        return NOTHING
    middle = f"{unit.write(statistics.median(values))} {unit.name}"
    if len(values) == 1:
        return f"{middle} (1 trial)"
    return f"{middle} ({unit.write(min(values))} to {unit.write(max(values))})"


def ratio(row: Row) -> str:
    """Ours against theirs, of the medians; what is shorter or smaller with us is a fraction."""
    if (
        row.unit is PERCENT
        or not row.ours
        or not row.theirs
        or not statistics.median(row.theirs)
        or not statistics.median(row.ours)
    ):
        return NOTHING
    value = statistics.median(row.ours) / statistics.median(row.theirs)
    return f"1/{1 / value:.1f}" if row.inverse and value < 1 else f"{value:.2f}"


def table(rows: Sequence[Row]) -> str:
    """Markdown; a row that nothing was measured for is left out."""
    head = ["measured", "voxraga", "tts-server", "ours / theirs", "aim"]
    lines = [head, ["---"] * len(head)]
    lines += [
        [row.name, summary(row.ours, row.unit), summary(row.theirs, row.unit), ratio(row), row.aim or NOTHING]
        for row in rows
        if row.ours or row.theirs
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
