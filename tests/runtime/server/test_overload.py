"""Overload is answered, not suffered; who leaves costs nothing; who is late is told when to come back."""

import asyncio
import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.bench.crowd import PROBES, REFUSED, crowd
from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import PATIENCE, Running, running
from tests.runtime.server.test_connections import HEAD, connected
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.store.sources.local import voices

CROWD, SECONDS = 80, 12.0
LONG = " ".join(f"This is sentence number {i}." for i in range(100))


def post(server: Running, text: str = "Hello there.", **body: object) -> httpx.Response:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        return client.post("/v1/audio/speech", json={"input": text, "response_format": "wav", **body})


def fill(server: Running, pool: ThreadPoolExecutor, running_: int, waiting: int) -> "list[Future[httpx.Response]]":
    sent = [pool.submit(post, server) for _ in range(running_ + waiting)]
    server.wait_health(in_flight=running_, queue_size=waiting)
    return sent


def leave(server: Running, body: dict[str, object], **seen: int) -> None:
    """Ask, and go once /health shows that."""
    asked = json.dumps(body).encode()
    with connected(server) as peer:
        peer.sendall(HEAD % len(asked) + asked)
        server.wait_health(**seen)


def test_full_queue_refuses_at_once_and_recovers(server: Running, tones: ToneEngine) -> None:
    tones.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        sent = fill(server, pool, running_=2, waiting=3)
        assert server.metric("voxraga_queue_size") == 3
        assert server.metric("voxraga_in_flight") == 2
        refused = post(server)  # while nobody's work goes on
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "queue_full"
        tones.gate.set()
        assert [s.result().status_code for s in sent] == [200] * 5
    assert post(server).status_code == 200


def test_the_event_loop_answers_while_workers_are_busy(server: Running, tones: ToneEngine) -> None:
    tones.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        sent = fill(server, pool, running_=2, waiting=1)
        for path in ("/live", "/ready", "/health", "/metrics"):
            assert server.client.get(path).status_code == 200
        tones.gate.set()
        assert all(s.result().status_code == 200 for s in sent)


def test_a_crowd_is_answered_and_forgotten() -> None:
    """Forty times as many clients as workers, some of whom mean no good; `make overload` does so for five minutes."""
    demo = voices() / "demo"
    with running(lambda: CoquiEngine(demo), demo, max_concurrency=2, queue_depth=10) as server:
        port = int(server.url.rpartition(":")[2])
        seen = asyncio.run(crowd(port, CROWD, SECONDS, deaf=1))
        assert seen.broken == []
        assert seen.answers
        assert seen.statuses["429 queue_full"] == len(seen.refusals) > CROWD
        assert set(seen.statuses) == {"200", "429 queue_full"}
        assert all(seen.probes[path] for path in PROBES)
        server.wait_health(in_flight=0, queue_size=0)
        assert post(server).status_code not in REFUSED


def test_waiting_too_long_is_503(tones: ToneEngine, tmp_path: Path) -> None:
    with running(tones, tmp_path, max_concurrency=1, queue_timeout=0.1) as server, ThreadPoolExecutor(1) as pool:
        tones.gate.clear()
        first = pool.submit(post, server)
        server.wait_health(in_flight=1)
        late = post(server)
        tones.gate.set()
        assert (late.status_code, late.json()["error"]["code"]) == (503, "queue_timeout")
        assert int(late.headers["retry-after"]) >= 1
        assert first.result().status_code == 200


def test_client_that_leaves_frees_its_worker(server: Running, tones: ToneEngine) -> None:
    tones.gate.clear()
    for stream in (False, True):
        leave(server, {"input": LONG, "stream": stream}, in_flight=1)
        server.wait_health(in_flight=0)
    assert tones.cancelled == 2
    tones.gate.set()
    assert post(server).status_code == 200
    assert 'status="499"' in server.client.get("/metrics").text


def test_client_that_leaves_in_mid_stream_stops_the_work(server: Running, tones: ToneEngine) -> None:
    body = {"input": LONG, "response_format": "pcm"}
    with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=body, timeout=PATIENCE) as answer:
        tones.gate.clear()
        next(answer.iter_raw())
    server.wait_health(in_flight=0)
    assert tones.spoken < 102
    assert tones.cancelled + (tones.spoken >= 100) >= 1
    tones.gate.set()


def test_waiting_client_that_leaves_leaves_the_queue(server: Running, tones: ToneEngine) -> None:
    tones.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        sent = fill(server, pool, running_=2, waiting=0)
        leave(server, {"input": "Hello there."}, queue_size=1)
        server.wait_health(queue_size=0)
        spoken = tones.spoken
        tones.gate.set()
        assert all(s.result().status_code == 200 for s in sent)
        server.wait_health(in_flight=0)
        assert tones.spoken == spoken + 2


def test_a_failing_model_is_a_500_and_frees_its_worker(server: Running, tones: ToneEngine) -> None:
    tones.fail_after = 0
    answer = post(server)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "synthesis_failed")
    tones.fail_after = None
    server.wait_health(in_flight=0)
    assert post(server).status_code == 200


def test_failing_in_mid_stream_breaks_the_connection_off(server: Running, tones: ToneEngine) -> None:
    tones.fail_after = 1
    with pytest.raises(httpx.RemoteProtocolError):
        post(server, "The first sentence. The second one.", stream=True)
    events = post(server, "The first sentence. The second one.", stream_format="sse").text
    assert '"type": "error"' in events
    assert "speech.audio.done" not in events


def test_an_engine_that_is_not_reentrant_gets_one_worker(tmp_path: Path) -> None:
    with running(ToneEngine(reentrant=False), tmp_path, max_concurrency=4) as server:
        assert server.health()["workers"] == 1


def test_draining_finishes_what_runs_and_refuses_the_rest(server: Running, tones: ToneEngine) -> None:
    tones.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        sent = fill(server, pool, running_=2, waiting=1)
        server.stop()
        server.wait_health(status="draining")
        assert server.client.get("/ready").status_code == 503
        assert server.client.get("/live").status_code == 200
        refused = post(server)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert refused.headers["retry-after"]
        assert refused.headers["connection"] == "close"
        tones.gate.set()
        assert [s.result().status_code for s in sent] == [200] * 3
    server.thread.join(PATIENCE)
    assert not server.thread.is_alive()
    assert server.error is None


def test_drain_timeout_ends_what_does_not_end(tones: ToneEngine, tmp_path: Path) -> None:
    with running(tones, tmp_path, max_concurrency=1, drain_timeout=0.2) as server, ThreadPoolExecutor(1) as pool:
        tones.gate.clear()
        sent = pool.submit(post, server, LONG)
        server.wait_health(in_flight=1)
        server.stop()
        server.thread.join(PATIENCE)
        assert not server.thread.is_alive()
        assert sent.exception() is not None or sent.result().status_code != 200
