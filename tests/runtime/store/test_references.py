"""Recordings as voices: what is read, and why others are refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voxraga_runtime.store.references import UnusableVoiceError, find_references, read_reference


def clip(folder: Path, name: str = "a.wav", *, seconds: float = 3.0, rate: int = 24000, level: float = 0.2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tone = level * np.sin(np.arange(round(seconds * rate)) * 0.05)
    soundfile.write(folder / name, np.stack([tone, tone], axis=1), rate)
    return folder


def test_clips_are_mono_at_the_models_rate(tmp_path: Path) -> None:
    folder = clip(clip(tmp_path / "Eva"), "b.flac", seconds=1.0)
    (folder / "voice.json").write_text(json.dumps({"language": "de", "license": "CC0-1.0"}))
    found = read_reference(folder, 22050)
    assert (found.name, found.language, found.license, found.rate) == ("Eva", "de", "CC0-1.0", 22050)
    assert [c.shape for c in found.clips] == [(66150,), (22050,)]
    assert found.digest != read_reference(clip(tmp_path / "Other", level=0.1), 22050).digest


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seconds": 1.0}, "1.0 s of recordings"),
        ({"rate": 8000}, "8000 Hz"),
        ({"level": 0.0}, "silent"),
        ({"level": 0.0005}, "silent"),
        ({"seconds": 301.0}, "longer"),
    ],
)
def test_unusable_clips_are_named(tmp_path: Path, changes: dict[str, float], told: str) -> None:
    with pytest.raises(UnusableVoiceError, match=told):
        read_reference(clip(tmp_path / "Eva", **changes), 22050)  # type: ignore[arg-type]


def test_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "Eva").mkdir()
    with pytest.raises(UnusableVoiceError, match="0 recordings"):
        read_reference(tmp_path / "Eva", 22050)
    (tmp_path / "Eva" / "a.wav").write_bytes(b"junk")
    with pytest.raises(UnusableVoiceError, match="can't be read"):
        read_reference(tmp_path / "Eva", 22050)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside = clip(tmp_path / "outside")
    (tmp_path / "voices" / "Eva").mkdir(parents=True)
    (tmp_path / "voices" / "Eva" / "a.wav").symlink_to(outside / "a.wav")
    assert find_references(tmp_path / "voices", 22050) == []


def test_the_bad_are_left_out(tmp_path: Path) -> None:
    clip(tmp_path / "Eva")
    clip(tmp_path / "Bad", level=0.0)
    clip(tmp_path / "no\tname")
    (tmp_path / "file.txt").write_text("x")
    assert [r.name for r in find_references(tmp_path, 22050)] == ["Eva"]
    assert find_references(tmp_path / "none", 22050) == []
