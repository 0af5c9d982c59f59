"""A small HTTP server that speaks, refuses, breaks off or waits, as a test says for each request."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECOND = bytes(48_000)
"""One second of pcm at OpenAI's 24 kHz."""


class Request(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            turn = len(self.server.asked)
            self.server.asked.append(Asked(self.path, body, dict(self.headers), self.client_address[1]))
        self.server.answer(self, turn)

    def whole(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Type": "audio/pcm", "Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def error(self, status: int, message: str, **headers: str) -> None:
        body = json.dumps({"error": {"message": message, "type": "t", "param": None, "code": None}}).encode()
        self.whole(body, status, Content_Type="application/json", **headers)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "audio/pcm")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, data: bytes) -> None:
        """An empty one is the last."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests print nothing."""


@dataclass(frozen=True)
class Asked:
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    port: int  # of the client: one for each connection


Answer = Callable[[Request, int], None]


class Server(ThreadingHTTPServer):
    """`answer` gets each request with its number, from 0."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answer = answer
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def texts(self) -> list[str]:
        return [each.body["input"] for each in self.asked]


@contextmanager
def speaking(answer: Answer = lambda request, _: request.whole(SECOND)) -> Iterator[Server]:
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
