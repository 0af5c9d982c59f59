"""Tiny coqui models with random weights, written as bundles of the store: every family loads by the real code."""

import json
from pathlib import Path
from typing import Any

import torch
from TTS.config import register_config
from TTS.encoder.utils.generic_utils import setup_encoder_model
from TTS.tts.models import setup_model
from TTS.vocoder.models import setup_model as setup_vocoder

AUDIO = {"sample_rate": 16000, "fft_size": 512, "win_length": 512, "hop_length": 128, "num_mels": 40, "mel_fmax": 8000}
FRAMES_PER_TOKEN = 6.0
SEED = 5


def speedy_speech(folder: Path, speakers: tuple[str, ...] = (), *, half: bool = False, **changes: Any) -> Path:
    """SpeedySpeech (Griffin-Lim); durations near FRAMES_PER_TOKEN, so that speed has something to work on."""
    config = {
        "model": "speedy_speech",
        "base_model": "forward_tts",
        "audio": {**AUDIO, "griffin_lim_iters": 32, "power": 1.2, "log_func": "np.log10", "ref_level_db": 20},
        "model_args": {
            "out_channels": 40,
            "hidden_channels": 32,
            "use_aligner": False,
            "encoder_type": "residual_conv_bn",
            "decoder_type": "residual_conv_bn",
            "duration_predictor_hidden_channels": 32,
            "encoder_params": {"kernel_size": 4, "dilations": [1, 4], "num_conv_blocks": 2, "num_res_blocks": 2},
            "decoder_params": {"kernel_size": 4, "dilations": [1, 4], "num_conv_blocks": 2, "num_res_blocks": 2},
            "use_speaker_embedding": bool(speakers),
        },
        "use_speaker_embedding": bool(speakers),
        "speakers": list(speakers) or None,
        "use_phonemes": False,
        "text_cleaner": "basic_cleaners",
        "phoneme_language": "en-us",
        **changes,
    }
    return _write(folder, config, half=half, adjust=_even_durations)


def vits(
    folder: Path,
    speakers: tuple[str, ...] = (),
    *,
    languages: tuple[str, ...] = (),
    d_vectors: bool = False,
    decoder: dict[str, Any] | None = None,
    encoder: bool = False,
) -> Path:
    """VITS, end to end, with its stochastic duration predictor: noise enters twice.

    `languages` make it multilingual; `d_vectors` gives its speakers vectors of a file instead of ids, as YourTTS has;
    with the speaker `encoder` that makes such vectors of recordings.
    """
    files = folder / "files"
    files.mkdir(parents=True)
    by_id = bool(speakers) and not d_vectors
    files_of_voices: dict[str, Any] = {}
    if languages:
        (files / "language_ids.json").write_text(json.dumps({name: i for i, name in enumerate(languages)}))
        files_of_voices |= {"language_ids_file": str(files / "language_ids.json"), "use_language_embedding": True}
    if d_vectors:
        draw = torch.Generator().manual_seed(SEED)
        clips = {
            f"{name}-{i}": {"name": name, "embedding": torch.randn(16, generator=draw).tolist()}
            for name in speakers
            for i in range(2)
        }
        (files / "speakers.json").write_text(json.dumps(clips))
        files_of_voices |= {"d_vector_file": [str(files / "speakers.json")], "use_d_vector_file": True}
        files_of_voices |= {"d_vector_dim": 16}
    if encoder:
        _write_encoder(files)
        names = {"model": str(files / "model_se.pth"), "config": str(files / "config_se.json")}
        files_of_voices |= {f"speaker_encoder_{kind}_path": path for kind, path in names.items()}
    config = {
        "model": "vits",
        "audio": {k: v for k, v in AUDIO.items() if k != "num_mels"} | {"num_mels": 40},
        "model_args": {
            "hidden_channels": 16,
            "hidden_channels_ffn_text_encoder": 16,
            "num_layers_text_encoder": 1,
            "num_heads_text_encoder": 2,
            "num_layers_posterior_encoder": 1,
            "num_layers_flow": 1,
            "num_layers_dp_flow": 1,
            "upsample_initial_channel_decoder": 16,
            "upsample_rates_decoder": [8, 4, 2, 2],
            "upsample_kernel_sizes_decoder": [16, 8, 4, 4],
            "resblock_kernel_sizes_decoder": [3],
            "resblock_dilation_sizes_decoder": [[1, 3, 5]],
            "out_channels": 257,
            "spec_segment_size": 8,
            "init_discriminator": False,
            "use_sdp": True,
            "use_speaker_embedding": by_id,
            "num_speakers": len(speakers),
            "embedded_speaker_dim": 16,
            "speaker_embedding_channels": 16,
            "embedded_language_dim": 4,
            "num_languages": len(languages),
            **files_of_voices,
            **(decoder or {}),
        },
        **files_of_voices,
        "use_speaker_embedding": by_id,
        "speakers": list(speakers) if by_id else None,
        "use_phonemes": False,
        "text_cleaner": "basic_cleaners",
        "phoneme_language": "en-us",
    }
    return _write(folder, config)


def _write_encoder(files: Path) -> None:
    """A speaker encoder as YourTTS brings it, with vectors of 16 dimensions."""
    audio = {"sample_rate": 16000, "fft_size": 512, "win_length": 400, "hop_length": 160, "num_mels": 64}
    params = {"model_name": "resnet", "input_dim": 64, "proj_dim": 16, "log_input": True, "use_torch_spec": True}
    config = register_config("speaker_encoder")()
    needed = {"num_classes_in_batch": 2, "num_utter_per_class": 2, "num_loader_workers": 0}
    config.from_dict({"model_params": params, "audio": {**audio, "preemphasis": 0.97}, **needed})
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        torch.save({"model": setup_encoder_model(config).state_dict()}, files / "model_se.pth")
    (files / "config_se.json").write_text(json.dumps(config.to_dict(), default=str))


def glow_tts(folder: Path) -> Path:
    """GlowTTS (Griffin-Lim)."""
    config = {
        "model": "glow_tts",
        "audio": {**AUDIO, "griffin_lim_iters": 32, "log_func": "np.log10"},
        "hidden_channels_enc": 16,
        "hidden_channels_dec": 16,
        "hidden_channels_dp": 16,
        "out_channels": 40,
        "encoder_type": "gated_conv",
        "encoder_params": {"kernel_size": 5, "dropout_p": 0.1, "num_layers": 2},
        "num_flow_blocks_dec": 2,
        "num_block_layers": 1,
        "use_phonemes": False,
        "text_cleaner": "basic_cleaners",
        "phoneme_language": "en-us",
    }
    return _write(folder, config, adjust=_even_durations)


def tacotron2(folder: Path) -> Path:
    """Tacotron2: keeps state on its modules, has no speed of its own, and drops out in inference."""
    config = {
        "model": "tacotron2",
        "audio": {**AUDIO, "griffin_lim_iters": 32},
        "out_channels": 40,
        "decoder_output_dim": 40,
        "max_decoder_steps": 40,
        "use_phonemes": False,
        "text_cleaner": "basic_cleaners",
        "phoneme_language": "en-us",
    }
    return _write(folder, config)


def add_vocoder(folder: Path) -> None:
    """A HiFi-GAN beside the model, at another rate than the model's: its features are interpolated."""
    config = register_config("hifigan")()
    config.from_dict(
        {
            "generator_model": "hifigan_generator",
            "discriminator_model": "hifigan_discriminator",
            "audio": {**AUDIO, "sample_rate": 22050},
            "generator_model_params": {
                "upsample_initial_channel": 16,
                "upsample_factors": [8, 4, 2, 2],
                "upsample_kernel_sizes": [16, 8, 4, 4],
                "resblock_kernel_sizes": [3],
                "resblock_dilation_sizes": [[1, 3, 5]],
                "resblock_type": "1",
            },
        }
    )
    vocoder = folder / "files" / "vocoder"
    vocoder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        weights = setup_vocoder(config).state_dict()
    torch.save({"model": weights}, vocoder / "model.pth")
    (vocoder / "config.json").write_text(json.dumps(config.to_dict(), default=str))


def _even_durations(model: Any) -> None:
    """Every token about FRAMES_PER_TOKEN long (log(d + 1) is what the model predicts)."""
    predictor = getattr(model, "duration_predictor", None) or model.encoder.duration_predictor
    predictor.proj.weight.data.mul_(0.1)
    predictor.proj.bias.data.fill_(torch.tensor(FRAMES_PER_TOKEN + 1).log())


def _write(folder: Path, config: dict[str, Any], *, half: bool = False, adjust: Any = None) -> Path:
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    made = register_config(config["model"])()
    made.from_dict({k: v for k, v in config.items() if v is not None})
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = setup_model(made)
    if adjust:
        adjust(model)
    weights = {k: v.half() if half and v.is_floating_point() else v for k, v in model.state_dict().items()}
    torch.save({"model": weights}, files / "model.pth")
    (files / "config.json").write_text(json.dumps(made.to_dict(), default=str))
    return folder
