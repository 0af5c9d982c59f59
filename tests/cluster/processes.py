"""Start, remember, find and end the cluster's processes.

Two ways lead back to a process: the table (pid and start time, so that a reused pid is never mistaken for ours), and a
mark in its environment, which also finds what an `up` that was killed halfway had started but not yet written down.
"""

import atexit
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MARK = "VOXRAGA_CLUSTER_MARK"

# Popen objects of processes that may outlive us: dropping one whose end nobody saw would warn that it still runs.
_started: list[subprocess.Popen[bytes]] = []


@atexit.register
def _let_go() -> None:
    for child in _started:
        if child.poll() is None:  # it outlives us on purpose
            child.returncode = 0


@dataclass(frozen=True)
class Process:
    name: str
    pid: int
    started: int  # clock ticks since boot, field 22 of /proc/PID/stat


def started_at(pid: int) -> int | None:
    """The start time of a living process; None for none, or for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def alive(process: Process) -> bool:
    return started_at(process.pid) == process.started


class Table:
    """The processes of one cluster, in the order of their start, in a file of JSON lines."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def all(self) -> list[Process]:
        """One of each name: one that was started again stands for itself only."""
        try:
            lines = self.file.read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [Process(**json.loads(line)) for line in lines if line.endswith("}")]  # a torn last line is none
        return list({process.name: process for process in found}.values())

    def alive(self) -> list[Process]:
        return [process for process in self.all() if alive(process)]

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        mark: Path,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Process:
        """Start a process in a session of its own, so that it outlives this command and its terminal."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                [*prefix, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(env or {}), MARK: str(mark)},
            )
        _started.append(child)
        process = Process(name, child.pid, started_at(child.pid) or 0)
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(process)) + "\n")
        return process


def marked(mark: Path) -> list[int]:
    """Every process of this machine that carries the cluster's mark."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if pid != os.getpid() and wanted in _read(f"/proc/{pid}/environ").split(b"\0")]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # it ended meanwhile, or is another user's
        return b""


def end(pids: Iterable[int], *, grace: float = 0.0) -> None:
    """End processes, at once (a test cluster's state is thrown away) or after a grace, and wait until they are gone."""
    left = {pid: began for pid in pids if (began := started_at(pid)) is not None}
    if grace:
        _signal(left, signal.SIGTERM)
        left = _wait(left, grace)
    _signal(left, signal.SIGKILL)
    left = _wait(left, 10.0)
    if left:
        raise RuntimeError(f"processes that do not end: {sorted(left)}")


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait(left: dict[int, int], seconds: float) -> dict[int, int]:
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        _reap()
        left = {pid: began for pid, began in left.items() if started_at(pid) == began}
        if left:
            time.sleep(0.02)
    return left


def _reap() -> None:
    _started[:] = [child for child in _started if child.poll() is None]
