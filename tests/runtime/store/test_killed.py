"""kill -9 at any moment leaves nothing published, or all of it."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.runtime.store import bundles
from tests.runtime.store.conftest import KEY, environment
from tests.runtime.store.host import Host
from voxraga_runtime.store import verify


def test_killed_at_every_step(tmp_path: Path) -> None:
    claim = bundles.write(tmp_path / "claim", bundles.good() | {"sub/NOTICE": b"n"})
    store = tmp_path / "store"
    bundles.write(store / "models" / ("a" * 16), {"manifest.json": b"{}"})
    program = [sys.executable, str(Path(__file__).with_name("killed.py")), str(claim), str(store), KEY]
    done = subprocess.run(
        program, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": "runtime"}
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["states"]) == {"nothing", "all"}
    assert found["states"] == sorted(found["states"], reverse=True), "what is published stays published"
    assert found["states"].count("nothing") > 15
    assert [path.name for path in (store / "models").iterdir()] == [KEY]
    assert list((store / "partial").iterdir()) == []


def test_a_replacement_killed_at_every_step(tmp_path: Path) -> None:
    """There is always the old model or the new one, whole; and the next start leaves nothing else."""
    program = [sys.executable, str(Path(__file__).with_name("killed_upload.py")), str(tmp_path)]
    done = subprocess.run(
        program, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": f"runtime{os.pathsep}."}
    )
    states = json.loads(done.stdout.splitlines()[-1])
    found = [state[0] for state in states]
    assert set(found) == {"old", "new"}
    assert found == sorted(found, reverse=True), "what is published stays published"
    assert found.count("old") > 10
    assert all(state == [state[0], state[0], []] for state in states)


def test_killed_at_any_time_of_a_download(tmp_path: Path, host: Host) -> None:
    files = bundles.good() | {"model.pth": bundles.checkpoint({"pad": "x" * 2_000_000})}
    source = {"http": {"files": [{"url": host.put(f"/{path}", content)} for path, content in files.items()]}}
    host.resources["/model.pth"].faults = [{"pace": 0.002}] * 99
    store = tmp_path / "store"
    store.mkdir()
    model = store / "models" / KEY
    chance = random.Random(7)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "voxraga_runtime", "fetch"],
            env=os.environ | environment(store, source) | {"PYTHONPATH": "runtime"},
            stdout=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.6, 1.4))
        process.kill()
        process.wait()
        if model.exists():
            verify(model)
    process = subprocess.Popen(
        [sys.executable, "-m", "voxraga_runtime", "fetch"],
        env=os.environ | environment(store, source) | {"PYTHONPATH": "runtime"},
        stdout=subprocess.DEVNULL,
    )
    assert process.wait(timeout=120) == 0
    assert [file.path for file in verify(model).files] == ["config.json", "model.pth"]
    assert host.sent < 2.5 * sum(len(content) for content in files.values()), "the tries resumed each other's download"
