"""`voxraga-runtime serve`: settings, engine, HTTP server, and how it starts and stops."""

import asyncio
import contextlib
import functools
import gc
import os
import resource
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import structlog
import uvicorn

from voxraga_runtime.common import connections, logs
from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.common.metrics import ServerMetrics
from voxraga_runtime.common.settings import ServerSettings, load_settings
from voxraga_runtime.common.termination import write_termination_message
from voxraga_runtime.server.workers import cpu_limit, worker_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from voxraga_runtime.server.engines.ahead import Cores
    from voxraga_runtime.server.engines.base import Engine
    from voxraga_runtime.server.engines.transcribe import Transcriber
    from voxraga_runtime.server.service import SpeechService

log = structlog.get_logger()

KEEP_ALIVE = 120  # seconds; longer than what proxies and connection pools of clients keep
LINGER = (
    1.0  # seconds after SIGTERM in which a late request still gets an answer (503): endpoints are updated with a delay
)
LAST_BYTES = 5  # seconds for responses that are made, but not yet sent


def main() -> int:
    """Serve until SIGTERM. Returns the exit code: 0, or 1 for a start that can't succeed (its last words say why)."""
    try:
        settings = load_settings()
    except StartupError as error:
        logs.setup()
        return _report(error, None)
    logs.setup(settings.log_level)
    _keep_to_the_store()
    _allow_connections()
    try:
        asyncio.run(_until_signalled(settings))
    except StartupError as error:
        return _report(error, settings.termination_log)
    return 0


def _report(error: StartupError, path: Path | None) -> int:
    log.error("start failed", reason=error.reason, error=error.message)
    write_termination_message({"reason": error.reason, "message": error.message}, path)
    return 1


def _keep_to_the_store() -> None:
    """No downloads, and caches only where a read-only root can be written; before anything heavy is imported."""
    scratch = tempfile.gettempdir()
    for name, value in {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRAINER_TELEMETRY": "0",
        "NUMBA_CACHE_DIR": f"{scratch}/numba",
        "MPLCONFIGDIR": f"{scratch}/matplotlib",
    }.items():
        os.environ.setdefault(name, value)


def _allow_connections() -> None:
    """As many open files as this process may have, where the shell that started it was more modest."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):  # the kernel's own limit may be lower
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Server(uvicorn.Server):
    """uvicorn, but signals are ours: it would close the port at once, where a probe must still read 503."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _until_signalled(settings: ServerSettings) -> None:
    await serve(settings, _on_signals(), lambda: _first_engine(settings))


def _first_engine(settings: ServerSettings) -> "Engine | Transcriber":
    """The engine, not loaded yet. What was imported for it stays for good: the collector need not look at it again.

    Those are 200 000 objects; with them each full collection holds everybody up for 0.2 s, without them for 0.05 s.
    """
    engine = _engine(settings)
    gc.freeze()
    return engine


async def serve(
    settings: ServerSettings, stopping: asyncio.Event, make_engine: "Callable[[], Engine | Transcriber]"
) -> None:
    """Load and serve until `stopping` is set, then drain. Raises StartupError where the model can't be served."""
    from voxraga_runtime.server.app import build_app, largest_text  # noqa: PLC0415 - after _keep_to_the_store
    from voxraga_runtime.server.models.uploading import open_uploads  # noqa: PLC0415
    from voxraga_runtime.server.service import SpeechService  # noqa: PLC0415
    from voxraga_runtime.server.wyoming import WyomingServer  # noqa: PLC0415

    service = SpeechService(
        settings,
        ServerMetrics(),
        make_engine,
        lambda: _setup_thread(settings),
        uploads=open_uploads(settings),
        open_engine=lambda chosen: cast("Engine", _engine(chosen)),
    )
    server = _Server(_uvicorn_config(build_app(service), largest_text(settings)))
    listener = _listen(settings.host, settings.port, "VOXRAGA_PORT")
    wyoming = WyomingServer(service)
    if settings.wyoming_port is not None:
        await wyoming.start(_listen(settings.host, settings.wyoming_port, "VOXRAGA_WYOMING_PORT"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    log.info("listening", port=listener.getsockname()[1], model=settings.model_name, path=str(settings.model_path))
    try:
        await _until_stopped(service, stopping)
    finally:
        server.should_exit = True
        await asyncio.gather(serving, wyoming.close(LAST_BYTES))
        listener.close()
        service.close()


def _uvicorn_config(app: "FastAPI", largest_message: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=connections.BoundedProtocol,
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the door knows which proxies to believe; uvicorn would believe this machine
        ws="websockets-sansio",
        ws_max_size=largest_message,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_BYTES,
    )


async def _until_stopped(service: "SpeechService", stopping: asyncio.Event) -> None:
    """Load, serve, and drain once stopped; a failed load raises StartupError."""
    stop = asyncio.create_task(stopping.wait())
    loading = asyncio.create_task(service.start())
    await asyncio.wait({stop, loading}, return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        loading.result()
        await stop
    log.info("draining", running=service.admission.running, waiting=service.admission.waiting)
    service.drain()
    _, finished = await asyncio.gather(asyncio.sleep(LINGER), service.finish())
    log.info("stopped", finished=finished)
    loading.cancel()


def _on_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second signal ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def received(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    return stopping


def _listen(host: str, port: int, variable: str) -> socket.socket:
    """A socket on every address, IPv6 included where there is one; or on the host that was named."""
    try:
        if host:
            listener = socket.create_server((host, port), backlog=2048)
        else:
            dual = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if dual else socket.AF_INET
            listener = socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=2048)
    except OSError as error:
        raise StartupError("SettingsInvalid", f"{variable} is {port}: {error.strerror}") from None
    # asyncio does so for sockets whose protocol number is set, which Python's own listeners' is not: without it a
    # small answer waits 40 ms for the acknowledgement of its header
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(connections.UNREAD * 1000))
    return listener


def _engine(settings: ServerSettings) -> "Engine | Transcriber":
    """The engine for the stored model; those that keep state while they speak run in processes of their own."""
    from voxraga_runtime.server.engines.bundle import Bundle  # noqa: PLC0415 - slow: the port answers meanwhile
    from voxraga_runtime.server.engines.precision import decoder_type  # noqa: PLC0415
    from voxraga_runtime.server.engines.processes import ProcessEngine  # noqa: PLC0415

    if settings.task == "SpeechToText":
        decoder_type(settings.precision, settings.device, "Whisper", holds=False)
        from voxraga_runtime.server.engines.whisper import WhisperEngine  # noqa: PLC0415 - slow

        return WhisperEngine(settings.model_path, settings.device)
    if Bundle(settings.model_path).architecture() == "xtts":
        decoder_type(settings.precision, settings.device, "XTTS", holds=False)
        count = settings.max_concurrency or 1  # each has its own copy of the weights: more only where it is asked for
        threads = max(settings.cpu_threads, int(cpu_limit() / count))
        make = functools.partial(_xtts, settings.model_path, settings.device)
        return ProcessEngine(make, count, functools.partial(_set_threads, threads))
    from voxraga_runtime.server.engines.coqui import CoquiEngine  # noqa: PLC0415 - slow

    cores = _cores(worker_count(cpu_limit(), settings.cpu_threads), settings.cpu_threads)
    threads, batch, precision = max(1, int(cpu_limit())), settings.batch, settings.precision
    return CoquiEngine(settings.model_path, settings.device, batch, threads, cores=cores, precision=precision)


@functools.cache
def _cores(count: int, threads: int) -> "Cores":
    """What may work ahead: one for the whole process, whatever engines there are."""
    from voxraga_runtime.server.engines.ahead import Cores  # noqa: PLC0415 - imports numpy

    return Cores(count, functools.partial(_set_threads, threads))


def _xtts(path: Path, device: str) -> "Engine":
    from voxraga_runtime.server.engines.xtts import XttsEngine  # noqa: PLC0415 - slow

    return XttsEngine(path, device)


def _setup_thread(settings: ServerSettings) -> None:
    _set_threads(settings.cpu_threads)


def _set_threads(count: int) -> None:
    import torch  # noqa: PLC0415 - slow, like the engine

    torch.set_num_threads(count)  # of this thread: OpenMP counts for each on its own
