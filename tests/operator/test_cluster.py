"""The API client against a small HTTP server that answers as a troubled API server does."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from voxraga_operator.cluster import ApiError, Cluster, Recorder
from voxraga_operator.cluster.resources import resource
from voxraga_operator.observe import Capabilities, observe
from voxraga_operator.plan.types import Reads

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Api:
    """Answers with what stands ready, in order; the last answer stays."""

    def __init__(self) -> None:
        self.answers: list[Answer | web.Response] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.headers: list[dict[str, str]] = []

    def say(self, status: int, body: Any = None, **headers: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            text = body if isinstance(body, str) else json.dumps(body or {})
            return web.Response(status=status, text=text, headers={n.replace("_", "-"): v for n, v in headers.items()})

        self.answers.append(answer)

    def refuse(self, status: int, reason: str, message: str = "no", **headers: str) -> None:
        self.say(status, {"kind": "Status", "reason": reason, "message": message}, **headers)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path, dict(request.query), await request.read()))
        self.headers.append(dict(request.headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        assert not isinstance(answer, web.Response)
        return await answer(request)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def cluster(api: Api) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    configuration.api_key["BearerToken"] = "Bearer t0ken"
    client = Cluster(configuration, timeout=10.0)
    yield client
    await client.close()
    await runner.cleanup()


async def test_a_get_of_nothing_is_none_and_other_errors_speak(api: Api, cluster: Cluster) -> None:
    api.refuse(404, "NotFound")
    assert await cluster.get("Service", "default", "a") is None
    api.answers.clear()
    api.refuse(403, "Forbidden", "you may not")
    with pytest.raises(ApiError, match="you may not") as raised:
        await cluster.get("Service", "default", "a")
    assert raised.value.refused
    assert api.headers[-1]["Authorization"] == "Bearer t0ken"


async def test_an_answer_that_is_no_status_is_cut_and_told(api: Api, cluster: Cluster) -> None:
    api.say(502, "<html>" + "x" * 10_000)
    with pytest.raises(ApiError) as raised:
        await cluster.list("Service", "default")
    assert len(raised.value.message) <= 200
    assert not raised.value.refused


async def test_a_short_wait_is_spent_and_a_long_one_is_passed_on(api: Api, cluster: Cluster) -> None:
    api.refuse(429, "TooManyRequests", Retry_After="1")
    api.say(200, {"metadata": {"name": "a"}})
    started = time.monotonic()
    found = await cluster.get("Service", "default", "a")
    assert found is not None
    assert time.monotonic() - started >= 1
    api.answers.clear()
    api.refuse(429, "TooManyRequests", Retry_After="30")
    with pytest.raises(ApiError) as raised:
        await cluster.get("Service", "default", "a")
    assert raised.value.retry_after == 30
    assert len(api.asked) == 3


async def test_a_server_that_does_not_answer_is_given_up(api: Api, cluster: Cluster) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(2)
        return web.Response()

    api.answers.append(hang)
    with pytest.raises(ApiError) as raised:
        await cluster.get("Service", "default", "a", timeout=0.2)
    assert (raised.value.status, raised.value.reason) == (0, "Unreachable")


async def test_a_list_is_read_to_its_end_and_its_items_get_their_kind(api: Api, cluster: Cluster) -> None:
    api.say(200, {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]})
    api.say(200, {"metadata": {}, "items": [{"metadata": {"name": "b"}}]})
    found = await cluster.list("Job", "default", labels="x=y")
    assert [(item["kind"], item["metadata"]["name"]) for item in found] == [("Job", "a"), ("Job", "b")]
    assert [query.get("continue") for _, _, query, _ in api.asked] == [None, "more"]
    assert api.asked[0][2]["labelSelector"] == "x=y"


async def test_an_apply_names_its_manager_and_forces(api: Api, cluster: Cluster) -> None:
    api.say(200)
    await cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b"}})
    method, path, query, _ = api.asked[0]
    assert (method, path) == ("PATCH", "/api/v1/namespaces/b/services/a")
    assert query == {"fieldManager": "voxraga-operator", "force": "true"}
    assert api.headers[0]["Content-Type"] == "application/apply-patch+yaml"


async def test_a_deletion_is_of_that_very_object(api: Api, cluster: Cluster) -> None:
    api.say(200)
    assert await cluster.delete("Job", "b", "a", uid="u", resource_version="5")
    body = json.loads(api.asked[0][3])
    assert body["preconditions"] == {"uid": "u", "resourceVersion": "5"}
    assert body["propagationPolicy"] == "Background"
    api.answers.clear()
    api.refuse(404, "NotFound")
    assert not await cluster.delete("Job", "b", "a", uid="u")
    api.answers.clear()
    api.refuse(409, "Conflict", "the uid differs")
    with pytest.raises(ApiError) as raised:
        await cluster.delete("Job", "b", "a", uid="u")
    assert raised.value.conflict


def test_paths_are_escaped() -> None:
    assert (
        resource("Deployment").path("a/b", "c d", "status") == "/apis/apps/v1/namespaces/a%2Fb/deployments/c%20d/status"
    )
    assert resource("Node").path("ignored", "n") == "/api/v1/nodes/n"


def reads(**more: Any) -> Reads:
    names: dict[str, Any] = {
        "name": "n",
        "claim": "n-store",
        "job": "n-fetch-0",
        "jobs_selector": "j",
        "pods_selector": "p",
    }
    return Reads(**{**names, "secrets": (), "source_claim": None, "nodes": False, **more})


async def test_of_a_secret_only_the_metadata_is_asked_for(api: Api, cluster: Cluster) -> None:
    async def answer(request: web.Request) -> web.Response:
        if "/secrets/" in request.path:
            if request.path.endswith("/hidden"):
                return web.json_response({"kind": "Status", "reason": "Forbidden"}, status=403)
            assert request.headers["Accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
            return web.json_response({}, status=200 if request.path.endswith("/there") else 404)
        if request.path == "/apis":
            return web.json_response({"groups": [{"name": "metrics.k8s.io"}]})
        named = request.path.rpartition("/")[2] in {"n", "n-store", "n-fetch-0"}
        return web.json_response({}, status=404) if named else web.json_response({"items": []})

    api.answers.append(answer)
    capabilities = Capabilities(cluster)
    found = await observe(cluster, capabilities, "default", reads(secrets=("there", "missing", "hidden")))
    assert found.secrets == {"there": True, "missing": False, "hidden": True}
    assert found.api_groups == {"metrics.k8s.io"}
    assert not any(path == "/api/v1/nodes" for _, path, _, _ in api.asked)
    await observe(cluster, capabilities, "default", reads(nodes=True))
    paths = [path for _, path, _, _ in api.asked]
    assert paths.count("/apis") == 1
    assert paths.count("/api/v1/nodes") == 1


async def test_reads_that_fail_together_say_so_with_one_error(api: Api, cluster: Cluster) -> None:
    api.refuse(429, "TooManyRequests", Retry_After="60")
    with pytest.raises(ApiError) as raised:
        await observe(cluster, Capabilities(cluster), "default", reads())
    assert raised.value.retry_after == 60


ABOUT = {
    "apiVersion": "voxraga.io/v1alpha1",
    "kind": "VoiceModel",
    "metadata": {"name": "n", "namespace": "d", "uid": "u"},
}


async def test_what_was_just_said_is_not_said_again(api: Api, cluster: Cluster) -> None:
    now = 0.0
    recorder = Recorder(cluster, instance="pod-1", quiet=600, clock=lambda: now)
    api.say(201)
    await recorder.record(ABOUT, "Normal", "Ready", "it speaks")
    await recorder.record(ABOUT, "Normal", "Ready", "it speaks")
    assert len(api.asked) == 1
    event = json.loads(api.asked[0][3])
    assert event["involvedObject"]["uid"] == "u"
    await recorder.record(ABOUT, "Warning", "NotReady", "it is silent")
    assert len(api.asked) == 2
    now = 700.0
    api.answers.clear()
    api.refuse(409, "AlreadyExists")
    api.say(200, {"count": 4})
    api.say(200)
    await recorder.record(ABOUT, "Normal", "Ready", "it speaks")
    assert [method for method, _, _, _ in api.asked[2:]] == ["POST", "GET", "PATCH"]
    assert json.loads(api.asked[-1][3])["count"] == 5


async def test_an_event_that_can_not_be_written_fails_nothing(api: Api, cluster: Cluster) -> None:
    api.refuse(403, "Forbidden")
    recorder = Recorder(cluster, instance="pod-1")
    await recorder.record(ABOUT, "Normal", "Ready", "x" * 5000)
    assert len(json.loads(api.asked[0][3])["message"]) == 1024
