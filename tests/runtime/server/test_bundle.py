"""config.json can neither run code nor leave its bundle."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxraga_runtime.common.errors import StartupError
from voxraga_runtime.server.engines.bundle import VOCODERS, Bundle, read_stats


def bundle(folder: Path, config: dict[str, Any]) -> Bundle:
    (folder / "files").mkdir(parents=True, exist_ok=True)
    (folder / "files" / "config.json").write_text(json.dumps(config))
    return Bundle(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"model": "bark"},
        {"model": "../evil"},
        {},
        {"model": "vits", "base_model": "os"},
        {"model": "vits", "characters": {"characters_class": "os.system"}},
        {"model": "vits", "characters": {"characters_class": "TTS.tts.datasets.dataset.TTSDataset"}},
    ],
)
def test_classes_by_name_are_refused(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        bundle(tmp_path, config).config()
    assert caught.value.reason == "ModelInvalid"


def test_files_are_forced_inside(tmp_path: Path) -> None:
    made = bundle(
        tmp_path,
        {
            "model": "vits",
            "speakers_file": "/training/machine/speakers.pth",
            "model_args": {
                "d_vector_file": ["http://elsewhere/d.pth", "../../inside.pth"],
                "language_ids_file": "/etc/passwd",
            },
        },
    )
    (tmp_path / "files" / "link.pth").symlink_to("/etc/passwd")
    for name in ("speakers.pth", "inside.pth"):
        (tmp_path / "files" / name).touch()
    config = made.config()
    assert config["speakers_file"] == str(tmp_path / "files" / "speakers.pth")
    assert config["model_args"] == {
        "d_vector_file": [str(tmp_path / "files" / "inside.pth")],
        "language_ids_file": None,
    }


def test_a_vocoder_is_another_bundle(tmp_path: Path) -> None:
    (tmp_path / "files" / "vocoder").mkdir(parents=True)
    (tmp_path / "files" / "vocoder" / "config.json").write_text('{"generator_model": "hifigan_generator"}')
    vocoder = bundle(tmp_path, {"model": "glow_tts"}).vocoder
    assert vocoder is not None
    assert vocoder.config(VOCODERS)["generator_model"] == "hifigan_generator"


def test_statistics_are_read_without_running_their_pickle(tmp_path: Path) -> None:
    stats = {"mel_mean": np.arange(3.0), "mel_std": np.float64(2), "audio_config": {"fft_size": 1024}}
    np.save(tmp_path / "scale_stats.npy", np.array(stats, dtype=object), allow_pickle=True)
    made = bundle(tmp_path, {"model": "glow_tts", "audio": {"stats_path": "/there/scale_stats.npy"}})
    (tmp_path / "scale_stats.npy").rename(tmp_path / "files" / "scale_stats.npy")
    assert made.config()["audio"]["stats_path"] is None
    assert made.stats is not None
    np.testing.assert_array_equal(made.stats["mel_mean"], stats["mel_mean"])


class _Runs:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


@pytest.mark.parametrize(
    "content", [np.array(_Runs(), dtype=object), np.zeros(3), np.array({"other": 1}, dtype=object)]
)
def test_other_statistics_are_refused(content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "s.npy", content, allow_pickle=True)
    with pytest.raises(StartupError):
        read_stats(tmp_path / "s.npy")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", pickle.dumps({"mel_mean": 1}), b"\x93NUMPY\x01\x00\x10\x00{'descr"]
)
def test_what_is_no_statistics_file_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.npy").write_bytes(data)
    with pytest.raises(StartupError):
        read_stats(tmp_path / "s.npy")
