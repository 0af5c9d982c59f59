"""Far too many clients: `python -m tests.bench.overload --minutes 5 --clients 200` (make overload).

The demo voice with default settings, and a crowd on the same cores (tests/bench/crowd.py). Prints what everybody saw
and fails where a promise of behaviour is broken; times are reported, for they are this machine's.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import machine
from tests.bench.crowd import OK, REFUSED, Seen, ask, crowd, speech
from tests.bench.servers import BenchError, Ours, alive, running
from voxraga_operator.cli.bench.figures import percentile
from voxraga_runtime.store.sources.local import voices

SAMPLE_EVERY = 2.0  # seconds
WARM = 0.25  # of the run, after which memory should stay where it is
GROWTH = 32 << 20  # bytes that it may still differ by: what the allocator keeps varies
RECOVERY = 5.0  # seconds after the crowd has left
REST = 0.1  # seconds between looks


@dataclass(slots=True)
class Figures:
    """What was measured from outside the crowd; memory in bytes, times in seconds."""

    alone: list[float] = field(default_factory=list)  # one short request, nobody else there
    memory: list[int] = field(default_factory=list)
    recovered: float = 0.0  # from the crowd's leaving until nobody was in the server
    after: list[float] = field(default_factory=list)  # the short request again
    refused_inside: list[float] = field(default_factory=list)  # by the server's own log


def main() -> int:
    arguments = _arguments()
    print(machine.describe(), flush=True)
    with tempfile.TemporaryDirectory(prefix="voxraga-overload-") as scratch:
        server = Ours(voices() / "demo", "rms", 16000, Path(scratch) / "voxraga.log")
        try:
            with running([server]):
                figures, seen = asyncio.run(_measure(server, arguments.clients, arguments.minutes * 60))
                alive(server)
        except BenchError as error:
            print(f"overload: {error}", file=sys.stderr)
            return 1
        figures.refused_inside = _refusals(server.log)
    print(_report(figures, seen))
    broken = seen.broken + _broken(figures)
    for line in dict.fromkeys(broken):
        print(f"BROKEN ({broken.count(line)} times): {line}")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.overload", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=200)
    return parser.parse_args()


async def _measure(server: Ours, clients: int, seconds: float) -> tuple[Figures, Seen]:
    figures = Figures(alone=await _short(server.port))
    sampling = asyncio.create_task(_sample(server.process.pid, figures.memory))
    seen = await crowd(server.port, clients, seconds)
    left = time.perf_counter()
    sampling.cancel()
    while time.perf_counter() - left < 10 * RECOVERY:
        health = json.loads((await ask(server.port, "GET", "/health")).body)
        if not health["in_flight"] and not health["queue_size"]:
            break
        await asyncio.sleep(REST)
    figures.recovered = time.perf_counter() - left
    figures.after = await _short(server.port)
    return figures, seen


async def _short(port: int) -> list[float]:
    """Five times one sentence, one after another."""
    replies = [await ask(port, "POST", "/v1/audio/speech", speech(i, 1)) for i in range(1, 6)]
    if any(reply.status != OK for reply in replies):
        raise BenchError(f"one request alone was answered {[reply.status for reply in replies]}")
    return [reply.seconds for reply in replies]


async def _sample(pid: int, memory: list[int]) -> None:
    while True:
        memory.append(memory_of(pid))
        await asyncio.sleep(SAMPLE_EVERY)


def memory_of(pid: int) -> int:
    """Bytes of this process alone: its children come and go, espeak-ng for each sentence."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def _refusals(log: Path) -> list[float]:
    """How long refusals took inside the server."""
    said = [json.loads(line) for line in log.read_text().splitlines() if '"endpoint"' in line]
    return [float(line["seconds"]) for line in said if line["status"] in REFUSED]


def growth(memory: list[int]) -> int:
    """Bytes by which the last quarter's median is above that of the quarter after the warm-up."""
    part = max(1, int(len(memory) * WARM))
    return int(statistics.median(memory[-part:]) - statistics.median(memory[part : 2 * part] or memory))


def _broken(figures: Figures) -> list[str]:
    broken = []
    if growth(figures.memory) > GROWTH:
        broken.append(f"memory grew by {growth(figures.memory) >> 20} MiB")
    if figures.recovered > RECOVERY:
        broken.append(f"it took {figures.recovered:.1f} s until the queue was empty")
    return broken


def _report(figures: Figures, seen: Seen) -> str:
    statuses = ", ".join(f"{count} of {status}" for status, count in seen.statuses.most_common())
    memory = figures.memory
    lines = ["| seconds | p50 | p99 | max | number |", "| --- | --- | --- | --- | --- |"]
    times = {
        "answers (200), to the last byte": seen.answers,
        "refusals, as a client sees them": seen.refusals,
        "refusals, inside the server": figures.refused_inside,
        **{f"GET {path}": found for path, found in seen.probes.items()},
        "all probes": list(itertools.chain(*seen.probes.values())),
        "delay of the crowd's own clock": seen.lag,
        "one sentence, before": figures.alone,
        "one sentence, afterwards": figures.after,
    }
    for name, found in times.items():
        if found:
            ranks = " | ".join(f"{percentile(found, share):.3f}" for share in (0.5, 0.99, 1.0))
            lines.append(f"| {name} | {ranks} | {len(found)} |")
    first, last, most = (size >> 20 for size in (memory[0], memory[-1], max(memory)))
    change = growth(memory) / (1 << 20)
    lines += [
        "",
        f"Answers: {statuses}.",
        f"Memory (RSS): {first} MiB at first, {last} at last, {most} at most; second to last quarter {change:+.1f}.",
        f"Empty {figures.recovered:.2f} s after the crowd had left.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
