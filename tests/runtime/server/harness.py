"""A real server on a loopback port, in a thread of this process."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests import ports
from voxraga_runtime.common.settings import ServerSettings, load_settings
from voxraga_runtime.server.engines.base import Engine
from voxraga_runtime.server.main import serve

PATIENCE = 120  # seconds; the first import of torch on a busy machine


class Running:
    """A server that answers at `url`; `stop()` is what SIGTERM does."""

    def __init__(self, settings: ServerSettings, make_engine: Callable[[], Engine]) -> None:
        self.url = f"http://127.0.0.1:{settings.port}"
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE)
        self.error: BaseException | None = None
        self._settings = settings
        self._make_engine = make_engine
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(serve(self._settings, self._stopping, self._make_engine))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self._loop.close()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.error is None:
            with contextlib.suppress(httpx.TransportError):
                if self.client.get("/ready").status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the server did not become ready: {self.error!r}")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/health").json()
        return found

    def wait_health(self, **expected: Any) -> None:
        """Wait until /health shows these values."""
        deadline = time.monotonic() + PATIENCE
        while any(self.health()[k] != v for k, v in expected.items()):
            assert time.monotonic() < deadline, f"{self.health()} never became {expected}"
            time.sleep(0.01)

    def metric(self, name: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(name + " ")))


@contextlib.contextmanager
def running(engine: Engine | Callable[[], Engine], path: Path, **settings: Any) -> Iterator[Running]:
    """Serve an engine until the end of the block."""
    values: dict[str, Any] = {"model_name": "narrator", "model_path": path, "drain_timeout": 20, **settings}
    made = load_settings(host="127.0.0.1", port=ports.free(1)[0], **values)
    server = Running(made, engine if callable(engine) else lambda: engine)
    server.thread.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.client.close()
        if server.thread.is_alive():
            server.stop()
        server.thread.join(PATIENCE)
