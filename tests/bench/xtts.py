"""An XTTS of the published size with random weights, as a bundle: it costs what the trained one costs."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.models.xtts import Xtts

SEED = 5
VOICE = "bench"
SPECIAL = ["[STOP]", "[UNK]", "[SPACE]", "[START]", "[en]"]
VOCABULARY = SPECIAL + list("abcdefghijklmnopqrstuvwxyz .,!?'-")
WIDTH = 1024
# of coqui's XTTS v2
ARGUMENTS = {
    "gpt_layers": 30,
    "gpt_n_model_channels": WIDTH,
    "gpt_n_heads": 16,
    "gpt_num_audio_tokens": 1026,
    "gpt_start_audio_token": 1024,
    "gpt_stop_audio_token": 1025,
    "gpt_use_perceiver_resampler": True,
    "decoder_input_dim": WIDTH,
}


def write(folder: Path, tokens: int) -> None:
    """Its sentences have `tokens` tokens of audio, 46 ms each: random weights never say that they are done."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(VOCABULARY)}, [], unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "vocab.json"))
    texts = {
        "gpt_number_text_tokens": len(VOCABULARY),
        "gpt_start_text_token": VOCABULARY.index("[START]"),
        "gpt_stop_text_token": VOCABULARY.index("[STOP]"),
        "gpt_max_audio_tokens": tokens,
    }
    config = XttsConfig()
    config.from_dict({"model": "xtts", "languages": ["en"], "model_args": ARGUMENTS | texts})
    torch.manual_seed(SEED)
    torch.save({"model": Xtts(config).state_dict()}, folder / "model.pth")
    latents = {"gpt_cond_latent": torch.randn(1, 32, WIDTH), "speaker_embedding": torch.randn(1, 512, 1)}
    torch.save({VOICE: latents}, folder / "speakers_xtts.pth")
    (folder / "config.json").write_text(json.dumps(config.to_dict(), default=str))
