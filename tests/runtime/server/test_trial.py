"""The spoken test's process: what an engine that does harm gets done there, and what is told of it."""

import asyncio
import os
import sys
import textwrap
from pathlib import Path

import pytest

from voxraga_runtime.server.models import trying
from voxraga_runtime.server.models.trying import Limits, limits_for, speak_confined
from voxraga_runtime.store.errors import StoreError

LIMITS = Limits(seconds=60, memory=256 << 20)
ENGINE = """
import os, socket, subprocess, sys, time
from voxraga_runtime.server.models import trial

def make(path):
    from tests.runtime.server.engine import ToneEngine

    class Engine(ToneEngine):
        def load(self):
            {load}

    return Engine()

trial.main(make)
"""


def command(tmp_path: Path, load: str) -> tuple[str, ...]:
    """The real process, with an engine whose `load` is the code of an attacker."""
    program = tmp_path / "program.py"
    body = textwrap.indent(load, " " * 12).strip()
    program.write_text(ENGINE.format(load=body))
    return (sys.executable, "-sP", str(program))


async def refused(tmp_path: Path, load: str, limits: Limits = LIMITS) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await speak_confined(tmp_path, tmp_path, limits, command(tmp_path, load))
    assert caught.value.reason == "InvalidModel"
    assert caught.value.message.startswith("the model failed its spoken test: ")
    return caught.value


async def test_a_voice_that_speaks(tmp_path: Path) -> None:
    found = await speak_confined(tmp_path, tmp_path, LIMITS, command(tmp_path, "pass"))
    assert found["voices"] == 2
    assert found["memory"] > 10 << 20


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
        ("bytearray(1 << 30)", "it needs more than 268435456 bytes of memory"),
        ("os.kill(os.getppid(), 9)", "PermissionError"),
        ("os._exit(0)", "exit code 0"),
        ("os.abort()", "signal 6"),
        ("print('{}'); raise SystemExit", "exit code 0"),
        ("raise FileNotFoundError('espeak')", "FileNotFoundError: espeak"),
    ],
)
async def test_what_an_engine_may_not(tmp_path: Path, load: str, said: str) -> None:
    assert said in (await refused(tmp_path, load)).message


async def test_a_load_that_never_ends_is_killed_with_all_it_started(tmp_path: Path) -> None:
    started = tmp_path / "child"
    load = f"""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    open({str(started)!r}, "w").write(str(child.pid))
    while True:
        time.sleep(1)
    """
    trial = asyncio.create_task(refused(tmp_path, textwrap.dedent(load), Limits(seconds=60, memory=1 << 30)))
    async with asyncio.timeout(60):
        while not (started.exists() and started.read_text()):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
    trial.cancel()  # as a server does that ends
    with pytest.raises(asyncio.CancelledError):
        await trial
    child = int(started.read_text())
    async with asyncio.timeout(60):
        while _alive(child):  # noqa: ASYNC110 - it is nobody's child any more
            await asyncio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_time_is_limited(tmp_path: Path) -> None:
    error = await refused(tmp_path, "time.sleep(1000)", Limits(seconds=0.5, memory=1 << 30))
    assert error.message.endswith("it did not speak within 0.5 s")


async def test_what_the_server_can_import_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the images everything comes by PYTHONPATH; in a checkout by the environment it is installed in."""
    monkeypatch.setattr(sys, "path", ["", "/opt/voxraga/code", *sys.path])
    assert trying._environment(tmp_path)["PYTHONPATH"].startswith("/opt/voxraga/code:")
    command = (*trying.COMMAND[:2], "-c", "import sys; raise SystemExit('' in sys.path)")
    with pytest.raises(StoreError, match="ended by exit code 0"):  # not the folder it works in
        await speak_confined(tmp_path, tmp_path, LIMITS, command)


async def test_no_secret_of_the_server_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    assert "a-secret-key" not in trying._environment(tmp_path).values()
    assert trying._environment(tmp_path)["PATH"] == os.environ["PATH"]


def test_large_models_get_more_time_and_memory() -> None:
    assert limits_for(1 << 20, 1).memory == 1 << 30
    assert limits_for(2 << 30, 1).memory == 6 << 30
    assert limits_for(2 << 30, 1).seconds > 300
