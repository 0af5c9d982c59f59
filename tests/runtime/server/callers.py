"""The ways by which clients ask for speech, each with the library that such a client uses; all give back what came."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2  # the official client's
import numpy as np
import openai
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.speech.audio import Mono, read, read_pcm

PATIENCE = 300.0  # seconds; a crowd waits for its turn
PCM_RATE = 24000


@dataclass(frozen=True)
class Call:
    """One request. `way` is one of WAYS."""

    way: str
    text: str
    voice: str
    format: str = "wav"
    speed: float = 1.0
    seed: int = 0

    @property
    def body(self) -> dict[str, Any]:
        """The fields that /v1/audio/speech, /synthesize and the WebSocket share."""
        return {"voice": self.voice, "speed": self.speed, "seed": self.seed}


class BrokenOffError(Exception):
    """The server ended its answer before the whole was there, and said so."""


def openai_client(url: str) -> openai.OpenAI:
    """The official client, which tries nothing twice: a test wants to see what happened."""
    plain = openai.DefaultHttpxClient(verify=False, timeout=PATIENCE)  # certificates take longer than most answers
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=plain)


def _whole(url: str, call: Call) -> Iterator[bytes]:
    with openai_client(url) as client:
        answer = client.audio.speech.create(
            model="tts-1",
            input=call.text,
            voice=call.voice,
            speed=call.speed,
            response_format=call.format,  # type: ignore[arg-type]  # a literal of the client's
            extra_body={"seed": call.seed, "stream": False},
        )
        yield answer.content


def _streamed(url: str, call: Call) -> Iterator[bytes]:
    with (
        openai_client(url) as client,
        client.audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts",
            input=call.text,
            voice=call.voice,
            speed=call.speed,
            response_format=call.format,  # type: ignore[arg-type]
            extra_body={"seed": call.seed, "stream": True},
        ) as answer,
    ):
        yield from answer.iter_bytes(1024)


def _events(url: str, call: Call) -> Iterator[bytes]:
    body = {"input": call.text, "response_format": call.format, "stream_format": "sse", **call.body}
    with httpx.stream("POST", f"{url}/v1/audio/speech", json=body, timeout=PATIENCE, verify=False) as answer:
        _require(answer)
        for line in answer.iter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line[6:])
            if event["type"] == "speech.audio.delta":
                yield base64.b64decode(event["audio"])
            elif event["type"] == "speech.audio.done":
                return
            else:
                raise BrokenOffError(event)
    raise BrokenOffError("no speech.audio.done")


def _native(url: str, call: Call) -> Iterator[bytes]:
    body = {"text": call.text, "format": call.format, **call.body}
    with httpx.stream("POST", f"{url}/synthesize", json=body, timeout=PATIENCE, verify=False) as answer:
        _require(answer)
        yield from answer.iter_bytes()


def _websocket(url: str, call: Call) -> Iterator[bytes]:
    """Word by word; always pcm, the one format that is one stream."""
    with connect(url.replace("http", "ws", 1) + "/v1/audio/speech/stream", open_timeout=PATIENCE) as socket:
        socket.send(json.dumps({"type": "session.start", "response_format": "pcm", **call.body}))
        for word in call.text.split(" "):
            socket.send(json.dumps({"type": "input.text", "text": word + " "}))
        socket.send(json.dumps({"type": "input.end"}))
        while True:
            frame = socket.recv(timeout=PATIENCE)
            if isinstance(frame, bytes):
                yield frame
            elif (message := json.loads(frame))["type"] == "session.done":
                return
            elif message["type"] == "error":
                raise BrokenOffError(message)


def _require(answer: httpx.Response) -> None:
    if answer.is_error:
        answer.read()
    answer.raise_for_status()


WAYS: dict[str, Callable[[str, Call], Iterator[bytes]]] = {
    "openai": _whole,
    "openai streaming": _streamed,
    "events": _events,
    "native": _native,
    "websocket": _websocket,
}
REFUSALS = (openai.APIError, httpx2.HTTPError, httpx.HTTPError, WebSocketException, BrokenOffError)
"""What an answer that failed looks like to these clients."""


def pieces(url: str, call: Call) -> Iterator[bytes]:
    """The answer's audio as it comes; who stops taking it has left. Raises one of REFUSALS."""
    return WAYS[call.way](url, call)


def heard(url: str, call: Call) -> tuple[Mono, int]:
    """The whole answer as (samples, rate in Hz)."""
    return decoded(call, b"".join(pieces(url, call)))


def decoded(call: Call, data: bytes) -> tuple[Mono, int]:
    """What came, as (samples, rate in Hz)."""
    if call.way == "websocket" or call.format == "pcm":
        return read_pcm(data, PCM_RATE)
    return read(data)


def leave(url: str, call: Call) -> int:
    """Ask, take the first bytes, and go; returns how many those were."""
    answer = pieces(url, call)
    taken = len(next(answer, b""))
    answer.close()  # type: ignore[attr-defined]  # they are generators
    return taken


def same(one: tuple[Mono, int], other: tuple[Mono, int], tolerance: float) -> bool:
    """Whether two answers hold the same samples, none off by more than `tolerance` of full scale."""
    (a, rate), (b, other_rate) = one, other
    return rate == other_rate and len(a) == len(b) and float(np.abs(a - b).max(initial=0.0)) <= tolerance
