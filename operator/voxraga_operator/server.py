"""The operator's HTTP: /healthz (restart me if not 200), /readyz, /metrics."""

from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""


class Server:
    def __init__(self, registry: CollectorRegistry, *, healthy: Iterable[Check], ready: Iterable[Check]) -> None:
        self._registry = registry
        self._healthy = tuple(healthy)
        self._ready = tuple(ready)
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Port 0 takes a free one, told by `port` afterwards."""
        app = web.Application()
        app.router.add_get("/healthz", self._answer_health)
        app.router.add_get("/readyz", self._answer_ready)
        app.router.add_get("/metrics", self._answer_metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer_health(self, _: web.Request) -> web.Response:
        return _verdict(self._healthy)

    async def _answer_ready(self, _: web.Request) -> web.Response:
        return _verdict(self._ready)

    async def _answer_metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=generate_latest(self._registry), headers=headers)


def _verdict(checks: Iterable[Check]) -> web.Response:
    wrong = [problem for check in checks if (problem := check()) is not None]
    return web.Response(text="\n".join(wrong) if wrong else "ok", status=503 if wrong else 200)
