"""A tiny XTTS with random weights, written as a bundle, and an engine that loads it by the real code."""

import functools
import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.layers.xtts.hifigan_decoder import HifiDecoder
from TTS.tts.models import xtts as coqui

from voxraga_runtime.server.engines.xtts import XttsEngine

# no config can make the decoder small: 512 channels are most of the time
coqui.HifiDecoder = functools.partial(HifiDecoder, upsample_initial_channel_decoder=32)
SEED = 5
DIMENSION = 32
TOKENS = 30  # of audio at most: random weights never say that they are done
LANGUAGES = ["en", "de", "zh-cn"]
SPECIAL = ["[STOP]", "[UNK]", "[SPACE]", "[START]", "[en]", "[de]", "[zh-cn]"]


def xtts(folder: Path, speakers: tuple[str, ...] = ("Ana", "Bo")) -> Path:
    """config.json, model.pth, vocab.json and speakers_xtts.pth, as coqui publishes them."""
    files = folder / "files"
    files.mkdir(parents=True)
    vocabulary = SPECIAL + list("abcdefghijklmnopqrstuvwxyz .,!?'äöüß-")
    tokenizer = Tokenizer(BPE({t: i for i, t in enumerate(vocabulary)}, [], unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(files / "vocab.json"))
    values = {
        "model": "xtts",
        "languages": LANGUAGES,
        "model_args": {
            "gpt_layers": 1,
            "gpt_n_model_channels": DIMENSION,
            "gpt_n_heads": 2,
            "gpt_number_text_tokens": len(vocabulary),
            "gpt_start_text_token": vocabulary.index("[START]"),
            "gpt_stop_text_token": vocabulary.index("[STOP]"),
            "gpt_num_audio_tokens": 66,
            "gpt_start_audio_token": 64,
            "gpt_stop_audio_token": 65,
            "gpt_max_audio_tokens": TOKENS,
            "gpt_max_text_tokens": 100,
            "gpt_use_perceiver_resampler": True,
            "decoder_input_dim": DIMENSION,
        },
    }
    config = XttsConfig()
    config.from_dict(values)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = coqui.Xtts(config)
        torch.save({"model": model.state_dict()}, files / "model.pth")
        voices = {
            name: {"gpt_cond_latent": torch.randn(1, 32, DIMENSION), "speaker_embedding": torch.randn(1, 512, 1)}
            for name in speakers
        }
    if voices:
        torch.save(voices, files / "speakers_xtts.pth")
    (files / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    return folder


def record(folder: Path, name: str, *, seconds: float = 3.0, rate: int = 22050, level: float = 0.3) -> Path:
    """A recording of a voice (a buzz with pauses), in the bundle's voices."""
    voice = folder / "files" / "voices" / name
    voice.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    buzz = level * np.sign(np.sin(2 * np.pi * (110 + 7 * len(name)) * time)) * (np.sin(2 * np.pi * time) > -0.5)
    path = voice / f"clip{len(list(voice.iterdir()))}.wav"
    soundfile.write(path, buzz.astype(np.float32), rate)
    return path


def make_engine(path: Path) -> XttsEngine:
    """Also for a process of its own: what it imports makes the decoder small there."""
    return XttsEngine(path, scratch=path / "scratch")


def one_thread() -> None:
    torch.set_num_threads(1)
