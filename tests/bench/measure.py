"""The trials: rounds in which each measurement is done with one server and then with the other, turn by turn."""

import itertools
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.bench import figures
from tests.bench.bare import Bare
from tests.bench.figures import Row, stall
from tests.bench.servers import Answer, Ours, Server, Theirs, ask, leave, resident
from tests.bench.texts import LONG, SENTENCES, TEN, load, spoken
from voxraga_operator.cli.bench.figures import percentile

LEAVES_AFTER = 0.5  # seconds
LISTS = ("limit", "near", "words", "gaps", "busy")


@dataclass(frozen=True, slots=True)
class Size:
    """How much one round does: requests for each number of clients, and how often the shortest text is spoken."""

    crowds: dict[int, int]
    shorts: int


FULL = Size({1: 10, 4: 8, 16: 16}, 5)
QUICK = Size({1: 1, 4: 4}, 1)


@dataclass(slots=True)
class Trials:
    """Everything that is measured of one model; there is a bare engine for each core."""

    ours: Ours
    theirs: Theirs
    bare: list[Bare]
    size: Size
    short: tuple[str, ...]
    rounds: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    limit: list[float] = field(default_factory=list)  # audio seconds per second, a bare engine on each core
    near: list[float] = field(default_factory=list)  # ours at four clients, of that
    words: list[float] = field(default_factory=list)  # share of letters to phonemes where each text is new
    gaps: list[float] = field(default_factory=list)  # seconds between pieces of a stream
    busy: list[float] = field(default_factory=list)  # the short text after as many as there are workers left
    _seconds: dict[tuple[str, ...], float] = field(default_factory=dict)

    def prepare(self) -> None:
        """How long everything is, and one request for each server: nobody's first."""
        texts = [*load(len(SENTENCES)), LONG, self.short]
        for engine in self.bare:
            engine.begin(texts)
        done = [engine.end() for engine in self.bare]
        self.words += [each["words"] / each["wall"] for each in done]
        seconds = done[0]["seconds"]
        self._seconds = dict(zip(texts, seconds, strict=True))
        self._seconds[TEN] = sum(self._seconds[(sentence,)] for sentence in TEN)
        for server in (self.ours, self.theirs):
            self._ask(server, self.short)
            self._ask(server, load(1)[0])

    def round(self) -> None:
        """Each measurement once with each server; who is first alternates."""
        for clients, requests in self.size.crowds.items():
            self._crowd(clients, requests)
        self._limit()
        self._each(self._first_of_ten)
        self._each(self._first_of_long)
        self._each(self._short_alone)
        self._each(self._short_after_leaver)
        self._after_many_leavers()
        self.rounds += 1

    def kept(self) -> dict[str, Any]:
        """The trials so far, for JSON; see `go_on`."""
        rows = {name: (row.ours, row.theirs) for name, row in self.rows.items()}
        lists = {name: getattr(self, name) for name in LISTS}
        kinds = {name: (row.unit.name, row.aim, row.inverse) for name, row in self.rows.items()}
        return {"rounds": self.rounds, "rows": rows, "kinds": kinds, **lists}

    def go_on(self, kept: dict[str, Any]) -> None:
        """Count the trials of an earlier run with these: a run can then be done in parts."""
        self.rounds += kept["rounds"]
        for name, (ours, theirs) in kept["rows"].items():
            unit, aim, inverse = kept["kinds"][name]
            row = self.rows.setdefault(name, Row(name, figures.UNITS[unit], aim, inverse))
            row.ours[:0], row.theirs[:0] = ours, theirs
        for name in LISTS:
            getattr(self, name)[:0] = kept[name]

    def memory(self) -> None:
        """What both hold after all that."""
        for server in (self.ours, self.theirs):
            self._add(server, "memory after the run (RSS)", figures.MEBIBYTES, resident(server.process.pid))

    def _each(self, measurement: Callable[[Server], None]) -> None:
        for server in self._order():
            measurement(server)

    def _order(self) -> tuple[Server, Server]:
        return (self.ours, self.theirs) if self.rounds % 2 == 0 else (self.theirs, self.ours)

    def _add(
        self, server: Server, name: str, unit: figures.Unit, value: float, aim: str = "", *, inverse: bool = True
    ) -> None:
        row = self.rows.setdefault(name, Row(name, unit, aim, inverse))
        (row.ours if server is self.ours else row.theirs).append(value)

    def _ask(self, server: Server, sentences: tuple[str, ...], *, streamed: bool = False) -> Answer:
        return ask(server, sentences, self._seconds[sentences], streamed=streamed)

    def _crowd(self, clients: int, requests: int) -> None:
        """Throughput."""
        texts = load(requests)
        audio = sum(self._seconds[t] for t in texts)
        for server in self._order():
            wall = self._alone(server, texts) if clients == 1 else self._wall(server, texts, clients)
            name = f"throughput, {clients} client{'s' * (clients > 1)}"
            self._add(server, name, figures.SPEED, audio / wall, "≥ 2" if clients == 4 else "", inverse=False)

    def _alone(self, server: Server, texts: list[tuple[str, ...]]) -> float:
        """One after another; and, turn by turn, what the server adds to the engine alone with the same cores."""
        cores = len(self.bare)
        threads, ahead = (1, cores) if server is self.ours else (cores, 1)
        total = 0.0
        for text in texts:
            took = self._ask(server, text).total  # without our own look at the answer
            alone = self.bare[0].run([text], threads, ahead)["wall"]
            self._add(server, "time added to the bare engine's", figures.PERCENT, took / alone - 1, "ours ≤ 5 %")
            total += took
        return total

    def _wall(self, server: Server, texts: list[tuple[str, ...]], clients: int) -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(clients) as crowd:
            for _ in crowd.map(lambda text: self._ask(server, text), texts):
                pass
        return time.perf_counter() - started

    def _limit(self) -> None:
        """The work of four clients on bare engines, one for each core."""
        texts = load(self.size.crowds[4])
        for index, engine in enumerate(self.bare):
            engine.begin(texts[index :: len(self.bare)])
        done = [engine.end() for engine in self.bare]
        limit = sum(sum(each["seconds"]) / each["wall"] for each in done)
        self.limit.append(limit)
        self.near.append(self.rows["throughput, 4 clients"].ours[-1] / limit)

    def _first_of_ten(self, server: Server) -> None:
        answer = self._ask(server, TEN, streamed=True)
        self._add(server, "10 sentences: first audio", figures.MILLISECONDS, answer.first, "≤ 1/20")
        self._add(server, "10 sentences: all of it", figures.SECONDS, answer.total)
        if server is self.ours:
            self._add(
                server, "10 sentences: a listener waits in between", figures.MILLISECONDS, stall(answer.pieces), "0"
            )
            times = [when for when, _ in answer.pieces]
            self.gaps += [b - a for a, b in itertools.pairwise(times)]

    def _first_of_long(self, server: Server) -> None:
        answer = self._ask(server, LONG, streamed=True)
        self._add(server, "one long sentence: first audio", figures.MILLISECONDS, answer.first)
        self._add(server, "one long sentence: all of it", figures.SECONDS, answer.total)
        share = answer.first / answer.total
        self._add(server, "one long sentence: first audio, of its whole time", figures.PERCENT, share, "ours ≤ 25 %")

    def _short_alone(self, server: Server) -> None:
        for _ in range(self.size.shorts):
            self._add(
                server, f"“{spoken(self.short)}” alone", figures.MILLISECONDS, self._ask(server, self.short).total
            )

    def _short_after_leaver(self, server: Server) -> None:
        leave(server, TEN, LEAVES_AFTER)
        name = f"“{spoken(self.short)}” after a client left 10 sentences"
        self._add(server, name, figures.MILLISECONDS, self._ask(server, self.short).total, "ours: alone + 10 %")

    def _after_many_leavers(self) -> None:
        """As many as there are cores: every worker of ours was busy."""
        leavers = [threading.Thread(target=leave, args=(self.ours, TEN, LEAVES_AFTER)) for _ in self.bare]
        for leaver in leavers:
            leaver.start()
        for leaver in leavers:
            leaver.join()
        self.busy.append(self._ask(self.ours, self.short).total)

    def remarks(self) -> list[str]:
        """What the table has no column for."""
        alone = statistics.median(self.rows[f"“{spoken(self.short)}” alone"].ours)
        after = statistics.median(self.rows[f"“{spoken(self.short)}” after a client left 10 sentences"].ours)
        limit = figures.summary(self.limit, figures.SPEED)
        near = figures.summary(self.near, figures.PERCENT)
        words = figures.summary(self.words, figures.PERCENT)
        busy = figures.summary(self.busy, figures.MILLISECONDS)
        cores = len(self.bare)
        lines = [
            f"This machine's limit, a bare engine on each of {cores} cores: {limit}; ours at 4 clients: {near}.",
            f"Letters to phonemes of a new sentence (espeak-ng, a process): {words} of the bare engine's time.",
            f"The short text after a leaver: {after / alone - 1:+.0%}; after {cores} that had all workers: {busy}.",
        ]
        if self.gaps:
            ranks = ", ".join(
                f"p{round(q * 100)} {percentile(self.gaps, q) * 1000:.0f} ms" for q in (0.5, 0.9, 0.95, 0.99)
            )
            lines.append(f"Between pieces of our stream of 10 sentences: {ranks} ({len(self.gaps)} gaps).")
        return lines
