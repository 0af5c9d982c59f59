"""Weights without running them: which opcodes and names a checkpoint's pickle uses, judged before torch sees it.

The server loads with `weights_only=True`, which is the real lock. This is the same rule without torch, so that a bad
checkpoint is refused when it is fetched, with its fault named, and so that speakers can be read as plain data.
"""

import io
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from .errors import StoreError

MAX_PICKLE = 64 << 20  # bytes: the structure, not the tensors; XTTS, the largest, has 0.3 MiB
LEGACY_PARTS = 5  # torch before 1.6: magic number, protocol, system, the object, the storages' keys

# fmt: off
OPCODES = frozenset({
    "APPEND", "APPENDS", "BINFLOAT", "BINGET", "BININT", "BININT1", "BININT2", "BINPERSID", "BINPUT", "BINUNICODE",
    "BUILD", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "EMPTY_TUPLE", "GLOBAL", "LONG1", "LONG_BINGET",
    "LONG_BINPUT", "MARK", "NEWFALSE", "NEWOBJ", "NEWTRUE", "NONE", "PROTO", "REDUCE", "SETITEM", "SETITEMS",
    "SHORT_BINSTRING", "STOP", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
})
# fmt: on
"""What torch's own weights-only unpickler understands (torch 2.8)."""
NAMES = frozenset(
    {"collections.OrderedDict", "collections.Counter", "torch.nn.parameter.Parameter", "torch.Size", "torch.Tensor"}
    | {"torch.device", "_codecs.encode", "builtins.bytearray", "builtins.set", "builtins.complex"}
    | {"__builtin__.set", "__builtin__.bytearray", "__builtin__.complex", "torch._tensor._rebuild_from_type_v2"}
    | {"torch.serialization._get_layout"}
)
PATTERNS = re.compile(
    r"torch(\.cuda)?\.[A-Z][A-Za-z0-9]*(Storage|Tensor)"
    r"|torch\.storage\.(Typed|Untyped)Storage"
    r"|torch\.(u?int\d+|b?float\d*\w*|half|double|bool|long|short|complex\d+|q\w+)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|sparse_tensor|qtensor)"
)


def check(path: Path, label: str) -> None:
    """Refuse a checkpoint that torch's weights-only loading would not take. `label` names the file in messages.

    Raises StoreError: UnsafeModel with the name or opcode found, InvalidModel for a damaged file.
    """
    for stream in _streams(path, label):
        _scan(stream, label)


def read(path: Path, label: str) -> Any:
    """The content of a checked checkpoint as plain dicts, lists, strings and numbers; tensors become `Opaque`.

    Nothing named in the file is imported or called. Raises as `check` does.
    """
    check(path, label)
    *_, last = list(_streams(path, label))[: LEGACY_PARTS - 1]
    try:
        return _Reader(last).load()
    except Exception as error:
        raise StoreError("InvalidModel", f"{label} is damaged: {error}") from error


class Opaque:
    """Stands for a tensor, or anything else of torch's, when only names are wanted."""

    def __new__(cls, *_args: object, **_more: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, _state: object) -> None:
        return None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else Opaque

    def persistent_load(self, _identifier: Any) -> Any:
        return Opaque()


def _streams(path: Path, label: str) -> Iterator[IO[bytes]]:
    """The pickles of a checkpoint, one at a time: one in a zip, five in a row before torch 1.6."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(b"PK"):
            yield _in_zip(path, label)
        elif start.startswith(b"\x80"):
            yield from _in_a_row(file, label)
        else:
            _damaged(label, "it begins like no checkpoint of torch")


def _in_zip(path: Path, label: str) -> IO[bytes]:
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
            _check_members(infos, path.stat().st_size, label)
            pickles = [info for info in infos if info.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
                _damaged(label, "it does not hold one data.pkl")
            return io.BytesIO(file.read(pickles[0]))
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - zipfile raises anything for a damaged one
        _damaged(label, f"cut off or damaged at {path.stat().st_size} bytes ({error})")


def _check_members(infos: list[zipfile.ZipInfo], size: int, label: str) -> None:
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED:
            raise StoreError("UnsafeModel", f"{label}: {info.filename!a} is compressed, which torch never does")
        if info.filename.endswith("/constants.pkl") or "/code/" in info.filename:
            raise StoreError("UnsafeModel", f"{label} is a TorchScript program, not weights: {info.filename!a}")
        if info.header_offset + info.file_size > size:
            _damaged(label, f"{info.filename!a} does not fit into its {size} bytes")


def _in_a_row(file: IO[bytes], label: str) -> Iterator[IO[bytes]]:
    for _ in range(LEGACY_PARTS):
        start = file.tell()
        for _opcode in _opcodes(file, label):
            if file.tell() - start > MAX_PICKLE:
                _damaged(label, "its structure is larger than any model's")
        length = file.tell() - start
        file.seek(start)
        yield io.BytesIO(file.read(length))


def _scan(stream: IO[bytes], label: str) -> None:
    for opcode, argument in _opcodes(stream, label):
        if opcode not in OPCODES:
            raise StoreError("UnsafeModel", f"{label}: pickle opcode {opcode} is not allowed in weights")
        if opcode == "GLOBAL" and not allowed(name := str(argument).replace(" ", ".", 1)):
            raise StoreError(
                "UnsafeModel", f"{label} would import {name!a} when loaded; save the weights alone (a state dict)"
            )


def allowed(name: str) -> bool:
    """Whether a checkpoint may name this global."""
    return name in NAMES or PATTERNS.fullmatch(name) is not None


def _opcodes(stream: IO[bytes], label: str) -> Iterator[tuple[str, Any]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except Exception as error:  # noqa: BLE001 - as above
        _damaged(label, f"no complete pickle ({error})")


def _damaged(label: str, why: str) -> NoReturn:
    raise StoreError("InvalidModel", f"{label} is not a readable checkpoint: {why}")
