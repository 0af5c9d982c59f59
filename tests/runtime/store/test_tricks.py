"""Bundles that are clever rather than wrong: names that are one elsewhere, numbers that are none, holes, depths."""

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.store import bundles
from tests.runtime.store.bundles import good
from voxraga_runtime.store import archive, gate
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing

E_ACUTE = ("caf\u00e9.json", "cafe\u0301.json")  # composed, and as macOS writes it


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


def stats(value: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array({"mel_mean": value}, dtype=object), allow_pickle=True)
    return out.getvalue()


def with_rate(rate: str) -> dict[str, bytes]:
    return good() | {
        "config.json": good()["config.json"].replace(b'"sample_rate": 22050', f'"sample_rate": {rate}'.encode())
    }


ITSELF: list[Any] = []
ITSELF.append(ITSELF)
STATISTICS = {"audio": {"sample_rate": 22050, "signal_norm": True, "stats_path": "scale_stats.npy"}}

TRICKS: dict[str, tuple[dict[str, bytes], str, str]] = {
    "names that differ in case": (good() | {"Model.pth": bundles.checkpoint()}, "UnsafeModel", "there twice"),
    "names that differ in composition": (good() | dict.fromkeys(E_ACUTE, b"{}"), "UnsafeModel", "there twice"),
    "a name that is written backwards": (good() | {"a\u202egpj.json": b"{}"}, "UnsafeModel", "\\u202e"),
    "a name of nothing visible": (good() | {"a\u200b.json": b"{}"}, "UnsafeModel", "\\u200b"),
    "a rate without end": (with_rate("1e999"), "InvalidModel", "audio.sample_rate is inf"),
    "a rate that is no number": (with_rate("NaN"), "InvalidModel", "audio.sample_rate is nan"),
    "a rate of a thousand digits": (with_rate("9" * 1000), "InvalidModel", "audio.sample_rate is 999"),
    "a number too long to read": (with_rate("9" * 10_000), "InvalidModel", "config.json is not JSON"),
    "a rate below zero": (with_rate("-22050"), "InvalidModel", "-22050"),
    "a config just within Python's reach": (good(more=nested(800)), "InvalidModel", "50 levels"),
    "speakers without end": (
        good(use_speaker_embedding=True, speakers_file="speakers.json") | {"speakers.json": b'{"a":' * 100_000},
        "InvalidModel",
        "speakers.json is not JSON",
    ),
    "statistics that hold themselves": (
        good(**STATISTICS) | {"scale_stats.npy": stats(ITSELF)},
        "InvalidModel",
        "scale_stats.npy",
    ),
    "statistics of unequal length": (
        good(**STATISTICS) | {"scale_stats.npy": stats([[1.0], [1.0, 2.0]])},
        "InvalidModel",
        "scale_stats.npy",
    ),
}


@pytest.mark.parametrize(("files", "reason", "said"), TRICKS.values(), ids=TRICKS)
def test_refused(tmp_path: Path, files: dict[str, bytes], reason: str, said: str) -> None:
    folder = bundles.write(tmp_path / "model", files)
    with pytest.raises(StoreError) as caught:
        gate.admit(folder, Listing(name="here", files=()), [])
    assert (caught.value.reason, caught.value.retriable) == (reason, False)
    assert said in caught.value.message
    assert len(caught.value.message) < 1000
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_gigabyte_of_config_is_not_read(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path, good())
    with (folder / "config.json").open("r+b") as file:
        file.truncate(1 << 30)  # a hole: it takes no room here
    with pytest.raises(StoreError, match=r"config\.json has more than 64"):
        gate.admit(folder, Listing(name="here", files=()), [])


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["a pipe", "a device"])
def test_what_never_ends_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = bundles.write(tmp_path, good())
    make(folder / "NOTICE")
    with pytest.raises(StoreError, match="NOTICE is not a plain file"):
        gate.admit(folder, Listing(name="here", files=()), [])


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in names:
            file.writestr(zipfile.ZipInfo(name), b"{}")
    return out.getvalue()


def lying(data: bytes) -> bytes:
    """A zip whose index promises less than is there: the bomb that a look at the index doesn't show."""
    whole = bundles.archive({"x.json": data})
    place = whole.index(b"PK\x01\x02")
    return whole[: place + 24] + (10).to_bytes(4, "little") + whole[place + 28 :]


def layered() -> bytes:
    """A tar whose one member's header announces an exabyte."""
    info = tarfile.TarInfo("a")
    info.size = 1 << 60
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


ARCHIVES: dict[str, tuple[bytes, str]] = {
    "a file that is a folder, too": (zipped("a", "a/b"), "UnsafeModel"),
    "a folder that is a file, too": (zipped("a/b", "a"), "UnsafeModel"),
    "names that differ in case": (zipped("m/Config.json", "m/config.json"), "UnsafeModel"),
    "names that differ in composition": (zipped(*E_ACUTE), "UnsafeModel"),
    "a name too long for any disk": (zipped("\u6587" * 200), "UnsafeModel"),
    "a name with a line break": (zipped("a\nb"), "UnsafeModel"),
    "a drive's name": (zipped("C:\\x"), "UnsafeModel"),
    "an index that promises too little": (lying(b"1" * 5000), "InvalidModel"),
    "an exabyte": (layered(), "UnsafeModel"),
    "nothing": (b"", "InvalidModel"),
}


@pytest.mark.parametrize(("content", "reason"), ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_with_a_trick(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "packed").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        archive.extract(tmp_path / "packed", tmp_path / "out/files", "voice.zip")
    assert (caught.value.reason, caught.value.retriable) == (reason, False)
    assert "voice.zip" in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "packed"]


def test_a_card_may_hold_anything(tmp_path: Path) -> None:
    """Whatever voice.json says, it is data: names of voices are not paths."""
    card = {"name": "../../x", "voices": [{"id": "../../etc"}, 7, None, {"id": 5}], "languages": "en", "license": ["x"]}
    folder = bundles.write(tmp_path, good() | {"voice.json": json.dumps(card).encode()})
    info = gate.admit(folder, Listing(name="here", files=()), [])
    assert (info.name, info.voices, info.languages) == ("../../x", ["../../etc"], ["en"])
