"""Where each target begins: inputs that are right, so that what is made of them is nearly so."""

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.targets import SEPARATOR
from tests.runtime.store import bundles
from voxraga_runtime.common.encoding import FORMATS, make_encoder

TONE = (0.3 * np.sin(np.arange(48000) * 0.06)).astype(np.float32)  # 3 s at 16 kHz
SPEAKERS = json.dumps({"anna": 0, "bert": 1}).encode()
CLIPS = json.dumps({"a": {"name": "anna", "embedding": [0.1]}}).encode()
CARD = json.dumps({"name": "x", "languages": ["en"], "voices": [{"id": "a"}, "b"], "license": "MIT"}).encode()
FILES: dict[str, Any] = {
    "use_speaker_embedding": True,
    "speakers_file": "speakers.json",
    "use_language_embedding": True,
    "language_ids_file": "language_ids.json",
}


def _archives() -> list[bytes]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        for name, content in (("m/config.json", b"{}"), ("m/voices/a/clip.wav", b"RIFF")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    files = {"m/config.json": b"{}" * 50, "m/a/b.json": b"[]"}
    return [packed.getvalue(), *(bundles.archive(files, kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))]


def _checkpoints() -> list[bytes]:
    parts: list[Any] = [119547037146038801333356, 1001, {}, {"model": {}}, []]  # as torch wrote them before 1.6
    legacy = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    return [bundles.checkpoint(), bundles.checkpoint({"a": {"name": ["x"] * 3, "v": (1.5, None, True)}}), legacy]


def _statistics() -> list[bytes]:
    found = []
    for value in ({"mel_mean": np.ones(2), "audio_config": {"num_mels": 80}}, [1]):
        out = io.BytesIO()
        np.save(out, np.array(value, dtype=object), allow_pickle=True)
        found.append(out.getvalue())
    out = io.BytesIO()
    np.save(out, np.ones(3))
    return [*found, out.getvalue()]


def _bundles() -> list[bytes]:
    config = bundles.good()["config.json"]
    named = bundles.good(**FILES)["config.json"]
    vectors = bundles.good(model_args={"use_d_vector_file": True, "d_vector_file": ["speakers.json"]})["config.json"]
    return [config, SEPARATOR.join((named, SPEAKERS, CARD)), SEPARATOR.join((vectors, CLIPS)), b"// x\n" + config]


def _sources() -> list[bytes]:
    return [
        json.dumps(source).encode()
        for source in (
            {"http": {"files": [{"url": "https://h/x.pth", "path": "model.pth", "sha256": "0" * 64}]}},
            {"huggingFace": {"repo": "a/b", "revision": "main", "include": ["*.pth"]}},
            {"catalog": {"name": "tts_models/en/vctk/vits"}},
            {"builtin": {"name": "demo"}},
            {"persistentVolumeClaim": {"claimName": "c", "path": "p"}},
        )
    ]


def _encoded(name: str, seconds: float) -> bytes:
    encoder = make_encoder(FORMATS[name], 24000, streamed=False)
    return encoder.start() + encoder.feed(TONE[: int(seconds * 16000)]) + encoder.finish()


def _lines(*messages: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(message).encode() for message in messages)


def _sessions() -> list[bytes]:
    said = {"type": "input.text", "text": "Dr. Who paid 3.50. Was it"}
    start = {"type": "session.start", "voice": "high", "response_format": "mp3", "speed": 1.5, "seed": 1}
    return [
        _lines(start, said, {"type": "input.flush"}, {"type": "input.cancel"}, said, {"type": "input.end"}),
        _lines(said, {"type": "input.end"}),
        b'{"type": 1}\n[]\n\xff',
    ]


def _events() -> list[bytes]:
    named = json.dumps({"text": "Hi there.", "voice": {"name": "high"}}).encode()
    outside = json.dumps({"type": "synthesize", "data_length": len(named)}).encode()
    stream: list[dict[str, Any]] = [
        {"type": "synthesize-start"},
        {"type": "synthesize-chunk", "data": {"text": "One. Two"}},
    ]
    return [
        outside + b"\n" + named,
        _lines(*stream, {"type": "synthesize-stop"}) + b"\n",
        _lines({"type": "describe"}, {"type": "ping", "data": {"text": "x"}, "payload_length": 3}) + b"\nabc",
    ]


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "unpacking": _archives,
    "checkpoint": _checkpoints,
    "statistics": _statistics,
    "bundle": _bundles,
    "source": _sources,
    "recordings": lambda: [_encoded(name, 0.2) for name in ("wav", "flac", "mp3", "opus", "aac")],
    "voice": lambda: [_encoded(name, 3) + SEPARATOR + CARD for name in ("wav", "flac", "mp3")],
    "splitting": lambda: ["Dr. Who paid 3.50… “Was it?” 你好。再见。 A.B. Café 1. x".encode(), b"x" * 500],
    "websocket": _sessions,
    "wyoming": _events,
}
