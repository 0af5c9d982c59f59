"""A VITS model of coqui's default size with random weights, as a folder: `python -m tests.bench.model FOLDER`.

It costs what a trained one costs and sounds like nothing. Durations are scaled to a usual speaking rate, and have no
noise, so that both servers make equally long audio of a text.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from TTS.config import register_config
from TTS.tts.models import setup_model

SEED = 5
FRAMES_PER_TOKEN = 2.7  # 11.6 ms each; every second token is a blank: 14 characters a second, as people read
LEVEL = 0.1  # RMS of full scale
PROBE = "The birch canoe slid on the smooth planks."
CONFIG = {
    "model": "vits",
    "use_phonemes": True,
    "phonemizer": "espeak",
    "phoneme_language": "en-us",
    "text_cleaner": "english_cleaners",
    "audio": {"do_trim_silence": False},
    "model_args": {"init_discriminator": False, "inference_noise_scale_dp": 0.0},
}


def write(folder: Path) -> None:
    """Make `model.pth` and `config.json` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    config = register_config("vits")()
    config.from_dict(CONFIG)
    model = setup_model(config).eval()
    config.model_args.length_scale = model.length_scale = _pace(model)
    _set_level(model)
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    (folder / "config.json").write_text(json.dumps(config.to_dict(), default=str))


def _speak(model: Any) -> dict[str, torch.Tensor]:
    tokens = model.tokenizer.text_to_ids(PROBE, language=None)
    with torch.inference_mode():
        outputs: dict[str, torch.Tensor] = model.inference(torch.tensor([tokens]))
    return outputs


def _pace(model: Any) -> float:
    """The length scale that gives FRAMES_PER_TOKEN, by bisection."""
    low, high = 0.01, 100.0
    for _ in range(20):
        middle = (low * high) ** 0.5
        model.length_scale = middle
        tokens = model.tokenizer.text_to_ids(PROBE, language=None)
        frames = _frames(model, torch.tensor([tokens]))
        low, high = (low, middle) if frames > FRAMES_PER_TOKEN * len(tokens) else (middle, high)
    return high


def _frames(model: Any, x: torch.Tensor) -> int:
    decoder = model.waveform_decoder
    model.waveform_decoder = torch.nn.Identity()
    model.waveform_decoder.forward = lambda z, g=None: z[:, :1]  # noqa: ARG005 - called by its keyword
    try:
        with torch.inference_mode():
            return int(model.inference(x)["model_outputs"].shape[-1])
    finally:
        model.waveform_decoder = decoder


def _set_level(model: Any) -> None:
    """Scale the last convolution: untrained, its sound would be far below what a server may take for silence."""
    last = model.waveform_decoder.conv_post
    last.weight.data -= last.weight.data.mean(-1, keepdim=True)  # and most of it would be a constant
    for _ in range(3):  # tanh follows: not linear
        level = float(_speak(model)["model_outputs"].square().mean().sqrt())
        last.weight.data.mul_(LEVEL / level)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
