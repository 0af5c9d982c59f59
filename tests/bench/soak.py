"""Does it forget? `python -m tests.bench.soak --requests 5000` (make soak): the memory of a server that never rests.

Short requests to the demo voice in every format and voice, whole and streamed, and every tenth client leaves early.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench import machine
from tests.bench.crowd import OK, ask, leave, speech
from tests.bench.overload import memory_of
from tests.bench.servers import BenchError, Ours, alive, running
from voxraga_runtime.store.sources.local import voices

CLIENTS = 4
LEAVER = 10  # every tenth
SAMPLES = 100  # of the memory, over the run
STEEPEST = 4.0  # MiB that a thousand requests may add, once the first half is over


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    requests = parser.parse_args().requests
    print(machine.describe(), flush=True)
    with tempfile.TemporaryDirectory(prefix="voxraga-soak-") as scratch:
        server = Ours(voices() / "demo", "rms", 16000, Path(scratch) / "voxraga.log")
        try:
            with running([server]):
                sizes = asyncio.run(_soak(server, requests))
                alive(server)
        except BenchError as error:
            print(f"soak: {error}", file=sys.stderr)
            return 1
    half = sizes[len(sizes) // 2 :]
    slope = steepness(half, requests / SAMPLES)
    shown = ", ".join(f"{size:.0f}" for size in sizes[:: SAMPLES // 10])
    print(f"Memory (RSS, MiB) at each tenth of {requests} requests: {shown}, {sizes[-1]:.0f}.")
    print(f"In the second half {slope:+.2f} MiB a thousand requests (at most {STEEPEST} allowed).")
    return 1 if slope > STEEPEST else 0


async def _soak(server: Ours, requests: int) -> list[float]:
    """MiB, each time another hundredth of the requests is done. Raises BenchError for an answer that is none."""
    numbers = iter(range(requests))
    done = itertools.count(1)
    sizes = [memory_of(server.process.pid) / (1 << 20)]

    async def client() -> None:
        for number in numbers:
            if number % LEAVER == 0:
                await leave(server.port, number)
            else:
                reply = await ask(server.port, "POST", "/v1/audio/speech", speech(number, 1 + number % 2))
                if reply.status != OK:
                    raise BenchError(f"request {number} was answered {reply.status}: {reply.body[:200]!r}")
            if next(done) % max(1, requests // SAMPLES) == 0:
                sizes.append(memory_of(server.process.pid) / (1 << 20))

    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(client())
    return sizes


def steepness(sizes: list[float], apart: float) -> float:
    """The slope of a straight line through sizes that are `apart` requests from each other, a thousand requests."""
    return float(np.polyfit(np.arange(len(sizes)) * apart / 1000, sizes, 1)[0])


if __name__ == "__main__":
    sys.exit(main())
