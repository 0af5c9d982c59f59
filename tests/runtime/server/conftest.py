"""Bundles and servers shared by the tests of a module or of the session."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import torch

from tests.runtime.server import models
from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import Running, running
from voxraga_runtime.common import logs
from voxraga_runtime.server import main


@pytest.fixture(autouse=True)
def no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait after each test for clients that read the endpoints late."""
    monkeypatch.setattr(main, "LINGER", 0.0)


@pytest.fixture(autouse=True)
def default_logs() -> Iterator[None]:
    """A test that sets the logs up leaves none of that behind."""
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.setup("error")  # structlog's own default draws every local variable of a traceback: seconds
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


@pytest.fixture(scope="module")
def few_threads() -> Iterator[None]:
    """One thread in torch's operations, as a worker has: for modules that compute in the test's own thread, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def speedy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.speedy_speech(tmp_path_factory.mktemp("speedy"), ("anna", "bert"))


@pytest.fixture(scope="session")
def vits_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.vits(tmp_path_factory.mktemp("vits"), ("anna", "bert"))


@pytest.fixture(scope="session")
def glow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.glow_tts(tmp_path_factory.mktemp("glow"))


@pytest.fixture
def tones() -> ToneEngine:
    return ToneEngine()


@pytest.fixture
def server(tones: ToneEngine, tmp_path: Path) -> Iterator[Running]:
    """A server of tones: two workers, three may wait."""
    with running(tones, tmp_path, max_concurrency=2, queue_depth=3, queue_timeout=20) as started:
        yield started
        tones.gate.set()
