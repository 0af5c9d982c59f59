"""Connections that only cost: who sends nothing, too slowly or nonsense, and who never reads what he asked for."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.server.engine import ToneEngine
from tests.runtime.server.harness import Running, running
from voxraga_runtime.common import connections

BODY = b'{"input": "Hello there.", "response_format": "pcm"}'
HEAD = b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
PATIENCE = 20


@pytest.fixture
def hurried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server that waits half a second for anything."""
    for name in ("HEADER", "BODY", "UNREAD"):
        monkeypatch.setattr(connections, name, 0.5)
    with running(ToneEngine(), tmp_path) as server:
        yield server


def connected(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def rest(peer: socket.socket) -> tuple[int, bytes]:
    """The status and body of what comes until the server closes."""
    received = b""
    while piece := peer.recv(65536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def drip(peer: socket.socket) -> None:
    """Twenty bytes a second, for as long as they are taken."""
    for _ in range(PATIENCE * 20):
        peer.sendall(b" ")
        time.sleep(0.05)


def is_live(peer: socket.socket) -> bool:
    """Ask for /live, and leave nothing of the answer unread."""
    peer.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while b"}" not in received:
        if not (piece := peer.recv(65536)):
            raise ConnectionResetError
        received += piece
    return received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"GET /live HTTP/1.1\r\nX-", HEAD % len(BODY), HEAD % len(BODY) + BODY[:9]])
def test_who_stops_sending_is_told_and_let_go(hurried: Running, sent: bytes) -> None:
    with connected(hurried) as peer:
        peer.sendall(sent)
        status, body = rest(peer)
    assert status == 408
    assert "did not come in time" in json.loads(body)["error"]["message"]
    hurried.wait_health(in_flight=0, queue_size=0)


def test_who_sends_byte_by_byte_is_too_slow(hurried: Running) -> None:
    with connected(hurried) as peer:
        peer.sendall(HEAD % 100_000)
        with pytest.raises(ConnectionError):
            drip(peer)


def test_a_body_that_is_slow_but_comes_is_heard(hurried: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SLOWEST", 1000)
    filled = BODY + b" " * 8000  # worth eight seconds more
    with connected(hurried) as peer:
        peer.sendall(HEAD % len(filled) + filled[:4000])
        time.sleep(1.0)  # twice what a body without a byte is given
        peer.sendall(filled[4000:])
        assert peer.recv(15) == b"HTTP/1.1 200 OK"


def test_who_is_idle_between_requests_is_kept(hurried: Running) -> None:
    with connected(hurried) as peer:
        for _ in range(2):
            assert is_live(peer)
            time.sleep(1.0)


def test_who_never_reads_is_cut_off(hurried: Running) -> None:
    """Ten megabytes, more than any socket holds: the kernel notices that nobody takes them."""
    asked = json.dumps({"input": "All of it. " * 400, "response_format": "wav"}).encode()
    with connected(hurried) as peer:
        peer.sendall(HEAD % len(asked) + asked)
        deadline = time.monotonic() + PATIENCE
        counted = 'voxraga_requests_total{endpoint="/v1/audio/speech"'
        while counted not in hurried.client.get("/metrics").text:
            assert time.monotonic() < deadline, "the answer still waits for its reader"
            time.sleep(0.05)


def test_a_websocket_is_no_slow_request(hurried: Running) -> None:
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    with connected(hurried) as peer:
        peer.sendall(f"GET /v1/audio/speech/stream HTTP/1.1\r\nHost: x\r\n{upgrade}{'A' * 22}==\r\n\r\n".encode())
        assert peer.recv(65536).startswith(b"HTTP/1.1 101")
        peer.settimeout(1.5)
        with pytest.raises(TimeoutError):  # still open
            peer.recv(1)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01 this is TLS\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000])
def test_what_is_no_http_gets_openais_error(hurried: Running, sent: bytes) -> None:
    with connected(hurried) as peer:
        peer.sendall(sent)
        status, body = rest(peer)
    assert status == 400
    assert "HTTP/1.1" in json.loads(body)["error"]["message"]


def test_connections_are_counted(hurried: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(hurried) as one:
        assert is_live(one)
        monkeypatch.setattr(connections, "MOST", 1)
        with connected(hurried) as another, pytest.raises(ConnectionError):
            is_live(another)
        assert is_live(one)
