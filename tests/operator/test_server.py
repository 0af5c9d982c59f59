"""Health, readiness and metrics over HTTP."""

import aiohttp

from voxraga_operator.metrics import Metrics
from voxraga_operator.queue import Key
from voxraga_operator.server import Server


async def fetch(port: int, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(url) as response:
        return response.status, await response.text()


async def test_health_readiness_and_metrics_answer() -> None:
    wrong: list[str] = []
    metrics = Metrics()
    server = Server(
        metrics.registry, healthy=[lambda: None, lambda: wrong[0] if wrong else None], ready=[lambda: "not yet"]
    )
    await server.start("127.0.0.1", 0)
    try:
        assert await fetch(server.port, "/healthz") == (200, "ok")
        assert await fetch(server.port, "/readyz") == (503, "not yet")
        wrong.append("a watch died")
        assert await fetch(server.port, "/healthz") == (503, "a watch died")

        key = Key("VoiceModel", "default", "a")
        metrics.finished(key, 0.2, None)
        metrics.finished(key, 0.2, RuntimeError("secret words"))
        metrics.wrote("Service", "apply")
        metrics.depth(2, 1)
        metrics.event("Pod")
        metrics.leading(True)
        status, text = await fetch(server.port, "/metrics")
    finally:
        await server.stop()
    assert status == 200
    for line in (
        'voxraga_operator_reconcile_total{kind="VoiceModel",result="error"} 1.0',
        'voxraga_operator_reconcile_errors_total{error="RuntimeError",kind="VoiceModel"} 1.0',
        'voxraga_operator_reconcile_duration_seconds_count{kind="VoiceModel"} 2.0',
        'voxraga_operator_writes_total{kind="Service",verb="apply"} 1.0',
        'voxraga_operator_queue_depth{state="ready"} 2.0',
        "voxraga_operator_leader 1.0",
    ):
        assert line in text.splitlines()
    assert 'voxraga_operator_watch_last_event_timestamp_seconds{kind="Pod"}' in text
    assert "secret words" not in text
