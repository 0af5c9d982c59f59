"""A loopback host, and a way to run `fetch` in this process with the environment of a Job."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.store.host import Host
from voxraga_runtime.store import Manifest, fetch, load

KEY = "0123456789abcdef"


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


@dataclass
class Outcome:
    code: int
    message: dict[str, Any]
    store: Path

    @property
    def manifest(self) -> Manifest:
        return load(self.store / "models" / KEY)

    @property
    def files(self) -> Path:
        return self.store / "models" / KEY / "files"


Fetch = Callable[..., Outcome]


def environment(store: Path, source: dict[str, Any], **more: str) -> dict[str, str]:
    return {
        "VOXRAGA_SOURCE": json.dumps(source),
        "VOXRAGA_STORE_KEY": KEY,
        "VOXRAGA_STORE_PATH": str(store),
        "VOXRAGA_TERMINATION_LOG": str(store.parent / "termination-log"),
        "VOXRAGA_FETCH_BACKOFF": "0.01",
        "VOXRAGA_FETCH_TIMEOUT": "5",
        "VOXRAGA_FETCH_ATTEMPTS": "3",
        "NO_PROXY": "*",
        **more,
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetch:
    """Run the command with `source` as spec.source and more variables by name."""
    store = tmp_path / "store"
    store.mkdir()

    def run(source: dict[str, Any], **more: str) -> Outcome:
        for name, value in environment(store, source, **more).items():
            monkeypatch.setenv(name, value)
        code = fetch.main()
        return Outcome(code, json.loads((tmp_path / "termination-log").read_text()), store)

    return run
