"""Bundles made by hand: a small good one, and everything a bad one may hold. No torch is needed to make them."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "model": "vits",
    "output_path": "/home/somebody/training",
    "datasets": [{"path": "/data/corpus", "language": ""}],
    "phoneme_language": "en-us",
    "text_cleaner": "english_cleaners",
    "characters": {"characters_class": "TTS.tts.models.vits.VitsCharacters", "characters": "abc"},
    "audio": {"sample_rate": 22050, "signal_norm": False},
    "model_args": {"use_speaker_embedding": False, "speakers_file": None},
}


class Call:
    """Pickles into a call of a named function: what an attacker would write."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def checkpoint(content: Any = None, *, compression: int = zipfile.ZIP_STORED, name: str = "archive/data.pkl") -> bytes:
    """A file as torch.save writes it: a zip with data.pkl, the tensors beside it."""
    content = {"model": OrderedDict(weight=1.5)} if content is None else content
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        file.writestr(name, pickle.dumps(content, protocol=2))
        file.writestr("archive/data/0", bytes(4096))
        file.writestr("archive/version", b"3\n")
    return out.getvalue()


def good(**changes: Any) -> dict[str, bytes]:
    """A bundle's files by path; `changes` go over the config's keys."""
    return {"config.json": json.dumps(CONFIG | changes).encode(), "model.pth": checkpoint()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def archive(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for path, content in files.items():
            file.writestr(path, content)
    return out.getvalue()
