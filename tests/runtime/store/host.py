"""A file server on loopback that counts what it sends and misbehaves on request."""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHUNK = 16384


@dataclass
class Resource:
    """One path: its bytes, and the faults that its next answers have, first to last."""

    content: bytes
    etag: bool = True
    faults: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    needs: str | None = None  # the Authorization header that it asks for
    ranges: bool = True


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


class Host:
    """`resources` by path; `requests` in the order of their arrival."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.requests: list[Request] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.other_url = f"http://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def put(self, path: str, content: bytes, **more: Any) -> str:
        self.resources[path] = Resource(content, **more)
        return self.url + path

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.requests)

    def to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                return

            def do_GET(self) -> None:
                answer(host, self)

        return Handler


def answer(host: Host, handler: BaseHTTPRequestHandler) -> None:
    path = handler.path
    request = Request(path, {name.lower(): value for name, value in handler.headers.items()})
    host.requests.append(request)
    resource = host.resources.get(path)
    fault = resource.faults.pop(0) if resource and resource.faults else {}
    time.sleep(fault.get("delay", 0))
    if resource is None:
        return plain(handler, request, 404, {})
    if resource.needs and request.headers.get("authorization") != resource.needs:
        return plain(handler, request, 401, {})
    if "status" in fault:
        return plain(handler, request, fault["status"], fault.get("headers", {}))
    return body(handler, request, resource, fault)


def plain(handler: BaseHTTPRequestHandler, request: Request, status: int, headers: dict[str, str]) -> None:
    request.status = status
    handler.send_response(status)
    for name, value in {**headers, "Content-Length": "0"}.items():
        handler.send_header(name, value)
    handler.end_headers()


def body(handler: BaseHTTPRequestHandler, request: Request, resource: Resource, fault: dict[str, Any]) -> None:
    tag = f'"{hashlib.md5(resource.content).hexdigest()}"'
    if resource.etag and request.headers.get("if-none-match") == tag:
        return plain(handler, request, 304, {})
    start = offset(request, resource, tag)
    if start > len(resource.content):
        return plain(handler, request, 416, {})
    request.status = 206 if start else 200
    handler.send_response(request.status)
    headers = {"Content-Length": str(len(resource.content) - start)} | resource.headers
    headers |= {"ETag": tag} if resource.etag else {}
    headers |= {"Content-Range": f"bytes {start}-{len(resource.content) - 1}/{len(resource.content)}"} if start else {}
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    send(handler, request, resource.content[start:], fault)
    return None


def offset(request: Request, resource: Resource, tag: str) -> int:
    wanted = request.headers.get("range")
    if not wanted or not resource.ranges or request.headers.get("if-range", tag) != tag:
        return 0
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


def send(handler: BaseHTTPRequestHandler, request: Request, content: bytes, fault: dict[str, Any]) -> None:
    limit = fault.get("cut", len(content))
    for begin in range(0, min(limit, len(content)), CHUNK):
        piece = content[begin : min(begin + CHUNK, limit)]
        try:
            handler.wfile.write(piece)
        except OSError:
            break
        request.sent += len(piece)
        time.sleep(fault.get("pace", 0))
    if limit < len(content):
        handler.close_connection = True


Make = Callable[..., Host]
