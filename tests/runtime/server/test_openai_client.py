"""The official client, unmodified, against the real server."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.runtime.server.engine import SECONDS_PER_CHARACTER, ToneEngine
from tests.runtime.server.harness import Running, running
from tests.speech.audio import measure, read, read_pcm
from voxraga_runtime.server.requests import OPENAI_VOICES

TEXT = "The official client speaks to this server, and hears the whole of it."
SECONDS = len(TEXT) * SECONDS_PER_CHARACTER


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(ToneEngine(), tmp_path_factory.mktemp("model")) as started:
        yield started


@pytest.fixture
def client(served: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
@pytest.mark.parametrize("model", ["tts-1", "narrator"])
def test_create(client: openai.OpenAI, name: str, model: str) -> None:
    answer = client.audio.speech.create(model=model, voice="alloy", input=TEXT, response_format=name)  # type: ignore[arg-type]
    audio, rate = read_pcm(answer.content, 24000) if name == "pcm" else read(answer.content)
    measures = measure(audio, rate)
    assert measures.seconds == pytest.approx(SECONDS, rel=0.02)
    assert measures.clipped == 0
    assert measures.rms_dbfs > -23


def test_streaming_to_a_file(client: openai.OpenAI, tmp_path: Path) -> None:
    kinds = {"model": "gpt-4o-mini-tts", "voice": "coral", "instructions": "Cheerful."}
    with client.audio.speech.with_streaming_response.create(input=f"{TEXT} {TEXT}", **kinds) as answer:  # type: ignore[arg-type]
        answer.stream_to_file(tmp_path / "speech.mp3")
    audio, rate = read((tmp_path / "speech.mp3").read_bytes())
    assert len(audio) / rate == pytest.approx(2 * SECONDS, rel=0.05)


def test_speed(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(model="tts-1", voice="nova", input=TEXT, response_format="wav", speed=2.0)
    audio, rate = read(answer.content)
    assert len(audio) / rate == pytest.approx(SECONDS / 2, rel=0.02)


def test_every_name_of_theirs_is_a_voice_and_others_are_told(client: openai.OpenAI) -> None:
    for voice in (*OPENAI_VOICES, {"id": "high"}):
        answer = client.audio.speech.create(model="tts-1", voice=voice, input="Hi.", response_format="pcm")  # type: ignore[arg-type]
        assert len(answer.content) > 1000
    with pytest.raises(openai.BadRequestError, match="voice is 'nobody'; it must be one of low, high"):
        client.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)


async def test_asynchronous_client(served: Running) -> None:
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
        answer = await client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="pcm")
    assert len(answer.content) / 2 / 24000 == pytest.approx(SECONDS, rel=0.02)


def test_models(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["narrator"]
    assert client.models.retrieve("narrator").id == "narrator"


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, speed=9)
    assert bad.value.param == "speed"
    assert "0.5 to 2.0" in str(bad.value)
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.speech.create(model="nothing", voice="alloy", input=TEXT)
    assert missing.value.code == "model_not_found"
