"""The multipart reader: the same files however the body is cut up, and clients that stop in the middle."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxraga_runtime.common.errors import InvalidRequest, TooLarge
from voxraga_runtime.server.models import form
from voxraga_runtime.server.models.form import receive

KIND = "multipart/form-data; boundary=edge"
FIRST = bytes(range(256)) * 3 + b"\r\n--edg\r\n--edge-not\r\n" + b"\r\n--"
BODY = (
    b'--edge\r\nContent-Disposition: form-data; name="model_name"\r\n\r\nm\xc3\xbcller\r\n'
    b'--edge\r\nContent-Disposition: form-data; name="model_file"; filename="m.pth"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + FIRST + b"\r\n"
    b'--edge\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n\r\n--edge--\r\n'
)


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@given(size=st.integers(1, len(BODY)))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_cut_up_in_any_way(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    folder = tmp_path_factory.mktemp("form")
    found = asyncio.run(receive(pieces(BODY, size), KIND, folder, 10_000))
    assert found.texts == {"model_name": "müller"}
    assert [(part.field, part.filename) for part in found.files] == [("model_file", "m.pth"), ("files", "")]
    assert [part.path.read_bytes() for part in found.files] == [FIRST, b""]


@pytest.mark.parametrize("cut", [10, 60, 200, 400, len(BODY) - 20])
async def test_a_body_that_ends_early(tmp_path: Path, cut: int) -> None:
    with pytest.raises(InvalidRequest, match=r"ends in the middle|can't be read"):
        await receive(pieces(BODY[:cut], 50), KIND, tmp_path, 10_000)


async def test_it_stops_at_the_limit(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield BODY[:300]
        while True:
            taken += 1
            yield bytes(1000)

    with pytest.raises(TooLarge, match="more than 5000 bytes; VOXRAGA_UPLOADS_MAX_BYTES"):
        await receive(endless(), KIND, tmp_path, 5000)
    assert taken <= 5


async def test_a_client_that_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "SILENCE", 0.01)

    async def silent() -> AsyncIterator[bytes]:
        yield BODY[:100]
        await asyncio.Event().wait()

    with pytest.raises(InvalidRequest, match=r"no byte came within 0\.01 s"):
        await receive(silent(), KIND, tmp_path, 5000)
