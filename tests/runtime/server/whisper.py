"""A tiny Whisper with random weights, saved as transformers saves them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

LANGUAGES = ("en", "de")
SEED = 5
POSITIONS = 24  # tokens at most: random weights never say that they are done


def whisper(folder: Path) -> Path:
    """config.json, model.safetensors, the tokenizer's and the feature extractor's files."""
    files = folder / "files"
    files.mkdir(parents=True)
    vocabulary = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab=vocabulary, merges=[], unk_token="<|endoftext|>")
    names = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{n}|>" for n in LANGUAGES), "<|translate|>"]
    names += ["<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": names[1:]})
    tokenizer.add_tokens([f"<|{i * 0.02:.2f}|>" for i in range(1501)])
    ids: dict[str, Any] = {n: tokenizer.convert_tokens_to_ids(n) for n in names}
    tokenizer.save_pretrained(files)
    untyped: Any = WhisperFeatureExtractor
    untyped(feature_size=16).save_pretrained(files)
    end = ids["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        d_model=16,
        max_target_positions=POSITIONS,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        init_std=1.0,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = WhisperForConditionalGeneration(config)
    untyped = GenerationConfig
    model.generation_config = untyped(
        decoder_start_token_id=ids["<|startoftranscript|>"],
        pad_token_id=end,
        eos_token_id=end,
        is_multilingual=True,
        lang_to_id={f"<|{n}|>": ids[f"<|{n}|>"] for n in LANGUAGES},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        max_initial_timestamp_index=50,
        alignment_heads=[[0, 0], [0, 1]],
        max_length=POSITIONS,
        return_timestamps=False,
    )
    model.save_pretrained(files)
    return folder
