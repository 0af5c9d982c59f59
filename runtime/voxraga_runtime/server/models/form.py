"""An upload's multipart body, written to files as it comes: no part of it is ever held in memory.

Starlette's own form would keep 1 MiB of each file and put the rest into /tmp, which is memory in many pods.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from voxraga_runtime.common.errors import InvalidRequest, TooLarge, UnsupportedMedia

LONGEST_FIELD = 4 << 10  # bytes
LONGEST_HEADER = 8 << 10  # bytes, of one part's headers
MOST_PARTS = 64
WRITTEN_AT_ONCE = 1 << 20  # bytes
SILENCE = 60.0  # seconds without a byte


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the form: the field's name, the file's name as the client has it, and where its bytes are."""

    field: str
    filename: str
    path: Path


@dataclass(slots=True)
class Form:
    """What came: texts by field, files in their order."""

    texts: dict[str, str] = field(default_factory=dict)
    files: list[Part] = field(default_factory=list)


async def receive(body: AsyncIterator[bytes], content_type: str, folder: Path, limit: int) -> Form:
    """Read the body into files under `folder`, at most `limit` bytes of it.

    Raises UnsupportedMedia, TooLarge and InvalidRequest; errors of the disk pass as they are.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise UnsupportedMedia("an upload is multipart/form-data: curl -F model_name=… -F model_file=@model.pth …")
    reader = _Reader(boundary, folder)
    received = 0
    try:
        while piece := await _next(body):
            received += len(piece)
            if received > limit:
                message = f"the upload has more than {limit} bytes; VOXRAGA_UPLOADS_MAX_BYTES allows no more"
                raise TooLarge(message, code="upload_too_large")
            reader.feed(piece)
            if reader.pending >= WRITTEN_AT_ONCE:
                await asyncio.to_thread(reader.write)
        await asyncio.to_thread(reader.write)
        return reader.finish()
    except FormParserError as error:
        raise InvalidRequest(f"the multipart body can't be read: {error}") from None
    finally:
        reader.close()


async def _next(body: AsyncIterator[bytes]) -> bytes:
    """The next piece that isn't empty; b"" at the end."""
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                piece = await anext(body, None)
        except TimeoutError:
            raise InvalidRequest(f"the upload stopped: no byte came within {SILENCE:g} s") from None
        if piece or piece is None:
            return piece or b""


class _Reader:
    """Takes the body's bytes; `write` puts what came of files to the disk, in another thread."""

    def __init__(self, boundary: bytes, folder: Path) -> None:
        self._folder = folder
        self._form = Form()
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._text: bytearray | None = None
        self._field = ""
        self._parts = 0
        self._ended = False
        self._file: IO[bytes] | None = None
        self._open: list[IO[bytes]] = []
        self._queue: list[tuple[IO[bytes], bytes]] = []
        self.pending = 0  # bytes that wait for `write`
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part,
                "on_header_field": lambda data, start, end: self._on_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._on_header(1, data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": lambda data, start, end: self._on_data(data[start:end]),
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: bytes) -> None:
        self._parser.write(data)

    def write(self) -> None:
        queue, self._queue, self.pending = self._queue, [], 0
        for file, data in queue:
            file.write(data)

    def finish(self) -> Form:
        self._parser.finalize()
        if not self._ended:
            raise InvalidRequest("the multipart body ends in the middle: was the upload broken off?")
        return self._form

    def close(self) -> None:
        for file in self._open:
            file.close()

    def _on_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise InvalidRequest(f"the form has more than {MOST_PARTS} parts; bring many files as one archive")
        self._headers, self._header_bytes, self._text, self._file = {}, 0, None, None

    def _on_header(self, which: int, data: bytes) -> None:
        self._header_bytes += len(data)
        if self._header_bytes > LONGEST_HEADER:
            raise InvalidRequest("a part of the multipart body has too long headers")
        self._header[which].extend(data)

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if not self._field:
            raise InvalidRequest("a part of the multipart body has no name")
        filename = options.get(b"filename")
        if filename is None:
            self._text = bytearray()
            return
        path = self._folder / str(self._parts)
        self._file = path.open("xb")
        self._open.append(self._file)
        self._form.files.append(Part(self._field, filename.decode("utf-8", "replace"), path))

    def _on_data(self, data: bytes) -> None:
        if self._file is not None:
            self._queue.append((self._file, data))
            self.pending += len(data)
        elif self._text is not None:
            self._text.extend(data)
            if len(self._text) > LONGEST_FIELD:
                message = f"{self._field[:80]} has more than {LONGEST_FIELD} bytes; was it meant as a file?"
                raise InvalidRequest(message, param=self._field[:80])

    def _on_part_end(self) -> None:
        if self._text is not None:
            self._form.texts[self._field] = self._text.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._ended = True
