"""The Wyoming port, by the protocol's own client, the way Home Assistant uses it."""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from tests import ports
from tests.runtime.server.engine import SECONDS_PER_CHARACTER, ToneEngine
from tests.runtime.server.harness import PATIENCE, Running, running
from tests.speech.audio import read_pcm
from voxraga_runtime.server.render import PAUSE_SECONDS

TEXT = "The lights in the kitchen are on. The door is closed."
SENTENCES = ("The lights in the kitchen are on.", "The door is closed.")
SECONDS = len("".join(SENTENCES)) * SECONDS_PER_CHARACTER + PAUSE_SECONDS


@pytest.fixture(scope="module")
def port() -> int:
    return ports.free(1)[0]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Running]:
    with running(ToneEngine(), tmp_path_factory.mktemp("model"), wyoming_port=port, max_text_length=300) as started:
        yield started


def connect(port: int) -> AsyncTcpClient:
    return AsyncTcpClient("127.0.0.1", port, connect_timeout=PATIENCE, read_timeout=PATIENCE)


async def until(client: AsyncTcpClient, kind: str) -> tuple[list[str], bytes, list[Event]]:
    """The kinds of events that come up to this one (chunks of audio once), their audio, and the events."""
    kinds: list[str] = []
    audio = b""
    events = []
    while not kinds or kinds[-1] != kind:
        event = await client.read_event()
        assert event is not None, f"the connection ended after {kinds}"
        audio += event.payload or b""
        events.append(event)
        if not kinds or event.type != kinds[-1]:
            kinds.append(event.type)
    return kinds, audio, events


async def test_describe(api: Running, port: int) -> None:
    del api
    async with connect(port) as client:
        await client.write_event(Describe().event())
        event = await client.read_event()
        assert event is not None
        (program,) = Info.from_event(event).tts
        assert program.supports_synthesize_streaming
        assert [(v.name, v.languages) for v in program.voices] == [("low", ["en", "de"]), ("high", ["en", "de"])]


@pytest.mark.parametrize("voice", [None, SynthesizeVoice(name="high"), SynthesizeVoice(language="de")])
async def test_synthesize(api: Running, port: int, voice: SynthesizeVoice | None) -> None:
    async with connect(port) as client:
        for _ in range(2):  # one connection serves many
            await client.write_event(Synthesize(TEXT, voice=voice).event())
            kinds, audio, events = await until(client, "audio-stop")
            assert kinds == ["audio-start", "audio-chunk", "audio-stop"]
            assert events[0].data == {"rate": 24000, "width": 2, "channels": 1}
            samples, rate = read_pcm(audio, 24000)
            assert len(samples) / rate == pytest.approx(SECONDS, rel=0.01)
    assert 'voxraga_requests_total{endpoint="wyoming",status="200"}' in api.client.get("/metrics").text


async def test_text_in_chunks_is_heard_before_its_end(api: Running, port: int) -> None:
    del api
    async with connect(port) as client:
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name="low")).event())
        await client.write_event(SynthesizeChunk("The lights in the kit").event())
        await client.write_event(SynthesizeChunk("chen are on. The").event())
        event = await client.read_event()
        assert event is not None
        assert event.type == "audio-start"  # while the second sentence is being written
        await client.write_event(SynthesizeChunk(" door is closed.").event())
        await client.write_event(Synthesize(TEXT).event())  # for servers that can't stream: not spoken again
        await client.write_event(SynthesizeStop().event())
        kinds, audio, _ = await until(client, "synthesize-stopped")
        assert kinds == ["audio-chunk", "audio-stop", "synthesize-stopped"]
        samples, rate = read_pcm(audio, 24000)
        assert len(samples) / rate == pytest.approx(SECONDS, rel=0.01)


async def test_a_stream_of_nothing_ends(api: Running, port: int) -> None:
    del api
    async with connect(port) as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeStop().event())
        kinds, audio, _ = await until(client, "synthesize-stopped")
        assert (kinds, audio) == (["synthesize-stopped"], b"")
        await client.write_event(Event("unheard-of"))
        await client.write_event(Event("ping", {"text": "x"}))
        assert (await until(client, "pong"))[2][-1].data == {"text": "x"}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (Synthesize("Hi.", voice=SynthesizeVoice(name="nobody")).event(), "one of low, high"),
        (SynthesizeStart(voice=SynthesizeVoice(name="nobody")).event(), "one of low, high"),
        (Synthesize("x" * 301).event(), "at most 300"),
        (Synthesize("?!").event(), "nothing to speak"),
        (Event("synthesize", {"text": 5}), "text must be a string"),
        (Event("synthesize", {"text": "Hi.", "voice": "low"}), "voice must be an object"),
    ],
)
async def test_errors_are_told(api: Running, port: int, event: Event, told: str) -> None:
    del api
    async with connect(port) as client:
        await client.write_event(event)
        kinds, _, events = await until(client, "error")
        assert kinds == ["error"]
        assert told in events[-1].data["text"]
        assert await client.read_event() is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\n",
        b"[]\n",
        b"{}\n",
        b'{"type": "synthesize", "data": 5}\n',
        b'{"type": "synthesize", "data_length": 99999999999}\n',
        b'{"type": "synthesize", "payload_length": -1}\n',
        b'{"type": "synthesize", "data_length": "x"}\n',
        b'{"type": "describe", "data_length": 10}\n{"a": 1',
        b"[" * 100_000 + b"\n",
        b"x" * 300_000,
    ],
)
def test_nonsense_ends_the_connection_and_nothing_else(api: Running, port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(100) == b""
        except ConnectionError:
            pass
    assert api.client.get("/ready").status_code == 200


async def test_leaving_frees_the_worker(tmp_path: Path) -> None:
    tones, port = ToneEngine(), ports.free(1)[0]
    with running(tones, tmp_path, wyoming_port=port, max_concurrency=1) as server:
        tones.gate.clear()
        async with connect(port) as client:
            await client.write_event(Synthesize(TEXT).event())
            await asyncio.to_thread(server.wait_health, in_flight=1)
        await asyncio.to_thread(server.wait_health, in_flight=0, queue_size=0)
    assert tones.cancelled == 1


async def test_a_server_that_ends_finishes_what_it_says(tmp_path: Path) -> None:
    tones, port = ToneEngine(), ports.free(1)[0]
    with running(tones, tmp_path, wyoming_port=port, max_concurrency=1) as server:
        tones.gate.clear()
        async with connect(port) as client, connect(port) as idle:
            await client.write_event(Synthesize(TEXT).event())
            await asyncio.to_thread(server.wait_health, in_flight=1)
            server.stop()
            assert await idle.read_event() is None
            tones.gate.set()
            _, audio, _ = await until(client, "audio-stop")
            assert len(audio) / 2 / 24000 == pytest.approx(SECONDS, rel=0.01)
            assert await client.read_event() is None


async def test_addresses_that_are_not_allowed(tmp_path: Path) -> None:
    port = ports.free(1)[0]
    with running(ToneEngine(), tmp_path, wyoming_port=port, allowed_cidrs=[ip_network("198.51.100.0/24")]):
        async with connect(port) as client:
            assert await client.read_event() is None
