"""Starts the spoken test of `trial` and waits for it: killed with all its children when it takes too long."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from voxraga_runtime.server.models.trial import UNCONFINED
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.manifest import FILES

log = structlog.get_logger()

COMMAND = (sys.executable, "-I", "-m", "voxraga_runtime.server.models.trial")
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG")  # what else there is in the environment is nobody's business there
MEMORY_LEAST, MEMORY_SHARE = 1 << 30, 3  # bytes, and parts of the model's size: a load holds the weights twice
SECONDS_LEAST, BYTES_PER_SECOND = 180, 10 << 20  # importing torch on a busy machine takes most of it
OUTPUT = 1 << 20  # bytes of its output that are read
TOLD = 500  # characters of what it wrote that go to the log


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` by the clock; the processor's time may be twice that. `memory` in bytes, beside torch itself."""

    seconds: float
    memory: int
    threads: int = 1


def limits_for(size: int, threads: int) -> Limits:
    """For a model of `size` bytes."""
    return Limits(SECONDS_LEAST + size / BYTES_PER_SECOND, max(MEMORY_LEAST, MEMORY_SHARE * size), threads)


async def speak_confined(path: Path, scratch: Path, limits: Limits, command: Sequence[str] = COMMAND) -> dict[str, Any]:
    """Load the bundle's model and speak, where it can harm nobody; returns {"voices", "memory" (bytes)}.

    Raises StoreError: InvalidModel with what is wrong with the model; InternalError where it can't be tried here.
    """
    told = {"path": str(path), "memory": limits.memory, "threads": limits.threads}
    told["cpu_seconds"] = int(2 * limits.seconds) + 1
    process = await asyncio.create_subprocess_exec(
        *command,
        json.dumps(told),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(scratch),
        cwd=scratch,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.seconds):
            output = await _read(process)
            code = await process.wait()
    except TimeoutError:
        raise _invalid(f"it did not speak within {limits.seconds:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    found = _found(output, code, limits)
    if "reason" in found:
        raise _invalid(found["message"].replace(f"{path}/{FILES}: ", ""))
    return found


def _environment(scratch: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRAINER_TELEMETRY": "0"}
    own = dict.fromkeys(("HOME", "TMPDIR", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"), str(scratch))
    return {**kept, **offline, **own, "PYTHONDONTWRITEBYTECODE": "1"}


async def _read(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    kept = b""
    while piece := await process.stdout.read(1 << 16):
        kept = (kept + piece)[-OUTPUT:]
    return kept


def _found(output: bytes, code: int, limits: Limits) -> dict[str, Any]:
    found = _answer(output)
    if found is None:
        log.warning(
            "the spoken test ended without an answer", code=code, output=output[-TOLD:].decode(errors="replace")
        )
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise _invalid(f"the process that loaded it ended by {ended}; {limits.memory} bytes of memory were allowed")
    if found.get("reason") == UNCONFINED:
        raise StoreError("InternalError", f"this machine can't confine a process to try the model: {found['message']}")
    return found


def _answer(output: bytes) -> dict[str, Any] | None:
    """What `trial` prints last; None for anything else."""
    try:
        found = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        return None
    return found if isinstance(found, dict) and set(found) in ({"voices", "memory"}, {"reason", "message"}) else None


def _invalid(why: str) -> StoreError:
    return StoreError("InvalidModel", f"the model failed its spoken test: {why}")
