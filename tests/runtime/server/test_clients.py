"""The clients that people have, against the demo voice: what they hear is decoded, measured and recognised.

How long it has to be is said by the engine itself, without a server around it.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import openai
import pytest
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize, SynthesizeVoice

from tests import ports
from tests.runtime.server.harness import PATIENCE, Running, running
from tests.runtime.server.test_wyoming import until
from tests.speech.audio import Mono, measure, read, read_pcm
from tests.speech.judge import named
from tests.speech.sentences import HARVARD
from voxraga_runtime.server.engines.base import Utterance
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.render import PAUSE_SECONDS
from voxraga_runtime.store.sources.local import voices

pytestmark = pytest.mark.usefixtures("few_threads")

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
SAID = ("Kick the ball straight and follow through.", "Rice is often served in round bowls.")
TEXT = " ".join(SAID)
RATES = {"opus": 48000, "flac": 16000, "wav": 16000}  # decoders of opus know no other; files keep the model's own
OTHERS = [f"{HARVARD[i]} {HARVARD[i + 1].lower()}" for i in range(0, 6, 2)]


@dataclass(frozen=True)
class Served:
    """The server, its Wyoming port, and how long the text is by each voice."""

    server: Running
    wyoming: int
    seconds: dict[str, float]

    def require(self, heard: tuple[Mono, int], voice: str, rate: int = 24000) -> None:
        """The whole text, in this voice's length; not silent, not clipped, and nothing else."""
        samples, found = heard
        measures = measure(samples, found)
        assert found == rate
        assert measures.seconds == pytest.approx(self.seconds[voice], rel=0.02)
        assert measures.rms_dbfs > -30
        assert measures.clipped == 0
        assert measures.longest_gap < 0.6
        assert named(samples, found, [TEXT, *OTHERS]) == TEXT


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    engine, port = CoquiEngine(voices() / "demo"), ports.free(1)[0]
    with running(engine, voices() / "demo", wyoming_port=port) as server:
        seconds = {}
        for voice in engine.voices():
            chunks = engine.synthesize(Utterance(SAID, voice.id), lambda: False)
            samples = np.concatenate([chunk.samples for chunk in chunks])
            seconds[voice.id] = len(samples) / engine.sample_rate + PAUSE_SECONDS
        yield Served(server, port, seconds)


def decoded(data: bytes, form: str) -> tuple[Mono, int]:
    return read_pcm(data, 24000) if form == "pcm" else read(data)


def whole(url: str, form: str, voice: str) -> bytes:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        return client.audio.speech.create(model="tts-1", input=TEXT, voice=voice, response_format=form).content  # type: ignore[arg-type]


def streamed(url: str, form: str, voice: str) -> bytes:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        client.audio.speech.with_streaming_response.create(
            model="tts-1-hd",
            input=TEXT,
            voice=voice,
            response_format=form,  # type: ignore[arg-type]
        ) as answer,
    ):
        return b"".join(answer.iter_bytes(4096))


async def asynchronous(url: str, form: str, voice: str) -> bytes:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        answer = await client.audio.speech.create(model="tts-1", input=TEXT, voice=voice, response_format=form)  # type: ignore[arg-type]
        return answer.content


async def asynchronously_streamed(url: str, form: str, voice: str) -> bytes:
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts",
            input=TEXT,
            voice=voice,
            response_format=form,  # type: ignore[arg-type]
            instructions="Speak calmly.",
        ) as answer,
    ):
        return b"".join([part async for part in answer.iter_bytes(4096)])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("call", [whole, streamed])
def test_the_official_client(served: Served, call: Callable[[str, str, str], bytes], form: str) -> None:
    for voice in served.seconds:
        served.require(decoded(call(served.server.url, form, voice), form), voice, RATES.get(form, 24000))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("call", [asynchronous, asynchronously_streamed])
async def test_the_official_client_asynchronously(
    served: Served, call: Callable[[str, str, str], Awaitable[bytes]], form: str
) -> None:
    """All voices at once, as one loop would ask for them."""
    answers = await asyncio.gather(*(call(served.server.url, form, voice) for voice in served.seconds))
    for voice, answer in zip(served.seconds, answers, strict=True):
        served.require(decoded(answer, form), voice, RATES.get(form, 24000))


@pytest.mark.parametrize("form", ["mp3", "pcm"])
async def test_livekits_events(served: Served, form: str) -> None:
    """As livekit-plugins-openai asks: events, read line by line, whose audio is decoded as it comes."""
    body = {"model": "gpt-4o-mini-tts", "input": TEXT, "voice": "ash", "response_format": form, "stream_format": "sse"}
    async with (
        httpx.AsyncClient(base_url=served.server.url, timeout=60) as client,
        client.stream("POST", "/v1/audio/speech", json=body) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [event async for event in _events(answer.aiter_lines())]
    kinds = [event["type"] for event in events]
    assert set(kinds[:-1]) == {"speech.audio.delta"}
    assert kinds[-1] == "speech.audio.done"
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    served.require(decoded(audio, form), _voice_of(served, "ash"))


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line[6:])


def _voice_of(served: Served, alias: str) -> str:
    """Which of the model's voices an OpenAI name means, by how long it takes."""
    wav, rate = read(whole(served.server.url, "wav", alias))
    return min(served.seconds, key=lambda voice: abs(served.seconds[voice] - len(wav) / rate))


async def test_pipecats_pcm(served: Served) -> None:
    """Raw samples that the pipeline takes for 24 kHz, in pieces, none of them half a sample in sum."""
    async with (
        openai.AsyncOpenAI(base_url=f"{served.server.url}/v1", api_key="none") as client,
        client.audio.speech.with_streaming_response.create(
            input=TEXT, model="gpt-4o-mini-tts", voice="alloy", response_format="pcm"
        ) as answer,
    ):
        assert answer.status_code == 200
        audio = b"".join([part async for part in answer.iter_bytes(1024)])
    assert len(audio) % 2 == 0
    served.require(read_pcm(audio, 24000), _voice_of(served, "alloy"))


def test_open_webui_lists_then_speaks(served: Served) -> None:
    """Its settings page fills both menus from these; a click on the loudspeaker sends what was chosen."""
    get, headers = served.server.client.get, {"Authorization": "Bearer none"}
    models = get("/v1/audio/models", headers=headers).json()["models"]
    listed = get("/v1/audio/voices", headers=headers).json()["voices"]
    assert [m["id"] for m in models] == [m["id"] for m in get("/v1/models", headers=headers).json()["data"]]
    for voice in listed:
        assert set(voice) >= {"id", "name"}
        body = {"model": models[0]["id"], "input": TEXT, "voice": voice["id"]}
        answer = served.server.client.post("/v1/audio/speech", json=body, headers=headers)
        assert answer.headers["content-type"] == "audio/mpeg"
        served.require(read(answer.content), voice["id"])


async def test_wyomings_own_client(served: Served) -> None:
    for voice in served.seconds:
        async with AsyncTcpClient(
            "127.0.0.1", served.wyoming, connect_timeout=PATIENCE, read_timeout=PATIENCE
        ) as client:
            await client.write_event(Synthesize(TEXT, voice=SynthesizeVoice(name=voice)).event())
            kinds, audio, events = await until(client, "audio-stop")
        assert kinds == ["audio-start", "audio-chunk", "audio-stop"]
        assert (events[0].data["width"], events[0].data["channels"]) == (2, 1)
        served.require(read_pcm(audio, events[0].data["rate"]), voice)
