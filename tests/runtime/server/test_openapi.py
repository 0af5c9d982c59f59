"""The OpenAPI document: complete, with examples, and kept by the server whatever is sent to it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import PATIENCE, Running, running
from tests.runtime.server.test_transcripts import Ears

EXAMPLES = 100  # for each operation, valid and not: bounded, and the same in every run
OPERATIONS = {
    "/models/upload": "post",
    "/models/{model}": "delete",
    "/v1/audio/speech": "post",
    "/synthesize": "post",
    "/synthesize/compare": "post",
    "/v1/audio/transcriptions": "post",
    "/stt": "post",
    "/v1/models": "get",
    "/v1/models/{model}": "get",
    "/v1/audio/models": "get",
    "/v1/audio/voices": "get",
    "/models": "get",
    "/live": "get",
    "/ready": "get",
    "/health": "get",
    "/metrics": "get",
    "/": "get",
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(ToneEngine(), tmp_path_factory.mktemp("model"), max_text_length=300) as started:
        yield started


@pytest.fixture(scope="module")
def document(api: Running) -> dict[str, Any]:
    found: dict[str, Any] = api.client.get("/openapi.json").json()
    return found


@pytest.mark.parametrize(("path", "method"), OPERATIONS.items())
def test_every_answer_has_an_example(document: dict[str, Any], path: str, method: str) -> None:
    operation = document["paths"][path][method]
    assert ("422" in operation["responses"]) is (path == "/models/upload")
    for status, answer in operation["responses"].items():
        if status == "204":
            continue
        content = answer["content"]
        if status not in {"200", "201"} or set(content) == {"application/json"}:
            assert "example" in content["application/json"], (path, status)
        if status not in {"200", "201"} and path != "/ready":
            assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
            assert set(content["application/json"]["example"]["error"]) == {"message", "type", "param", "code"}
    body = operation.get("requestBody")
    if body and "application/json" in body["content"]:
        name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert "example" in document["components"]["schemas"][name]


def test_nothing_is_undocumented(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == set(OPERATIONS)
    assert "HTTPValidationError" not in json.dumps(document)


@pytest.fixture(scope="module", params=["TextToSpeech", "SpeechToText"])
def schema(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Of a server that speaks, and of one that hears."""
    if request.param == "TextToSpeech":
        yield schemathesis.openapi.from_url(f"{request.getfixturevalue('api').url}/openapi.json")
        return
    hears: Any = Ears
    with running(hears, tmp_path_factory.mktemp("model"), task="SpeechToText") as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS.items())
def test_no_request_is_too_strange(schema: Any, path: str, method: str, mode: GenerationMode) -> None:
    """Whatever comes, valid or not, there is an answer in the one shape, and it is never a 5xx."""
    operation = schema[path][method.upper()]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    def answered(case: schemathesis.Case) -> None:
        answer = case.call(timeout=PATIENCE)
        assert answer.status_code < 500
        assert answer.headers["x-request-id"]
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert len(error["message"]) < 1000

    try:
        answered()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # nothing can be wrong with a request without a single field
