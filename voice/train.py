"""Train the demo voice: coqui-tts SpeedySpeech with two speakers on the corpus that record.py made.

    python train.py CORPUS [--steps N]

Writes a checkpoint every 500 steps below CORPUS/run. Seeded; 1.0 s a step on two cores with AVX512-BF16.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from trainer import Trainer, TrainerArgs
from TTS.config import BaseAudioConfig, BaseDatasetConfig
from TTS.tts.configs.speedy_speech_config import SpeedySpeechConfig
from TTS.tts.datasets import load_tts_samples
from TTS.tts.models.forward_tts import ForwardTTS

SAMPLE_RATE = 16000  # flite's voices
BATCH = 32


class MixedForwardTTS(ForwardTTS):
    """ForwardTTS whose convolutions train in bfloat16 on a CPU; alignment and losses stay in float32.

    coqui's own mixed precision is CUDA's only. The Viterbi search of the aligner goes through numpy, which has no
    bfloat16, and its log-probabilities lose too much in 8 bits of mantissa.
    """

    def _forward_aligner(self, *tensors: torch.Tensor) -> Any:
        with torch.autocast("cpu", enabled=False):
            return super()._forward_aligner(*(t.float() for t in tensors))

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = super().forward(*args, **kwargs)
        return {
            k: v.float() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in outputs.items()
        }


def configuration(corpus: Path, epochs: int) -> SpeedySpeechConfig:
    """Everything that decides what is learned; silence is already trimmed by record.py."""
    audio = BaseAudioConfig(
        sample_rate=SAMPLE_RATE,
        fft_size=1024,
        win_length=1024,
        hop_length=256,
        num_mels=80,
        mel_fmin=0,
        mel_fmax=8000,
        do_trim_silence=False,
        signal_norm=True,
        power=1.5,
        griffin_lim_iters=60,
        preemphasis=0.0,
        ref_level_db=20,
        log_func="np.log10",
    )
    return SpeedySpeechConfig(
        run_name="demo",
        audio=audio,
        use_speaker_embedding=True,
        batch_size=BATCH,
        batch_group_size=8,  # batches of like lengths: a third less padding to compute
        num_loader_workers=1,
        compute_input_seq_cache=True,
        run_eval=False,
        test_delay_epochs=-1,
        test_sentences=[],
        epochs=epochs,
        text_cleaner="english_cleaners",
        use_phonemes=True,
        phoneme_language="en-us",
        phonemizer="espeak",
        phoneme_cache_path=str(corpus / "phonemes"),
        precompute_num_workers=2,
        print_step=25,
        save_step=500,
        save_n_checkpoints=3,
        mixed_precision=False,
        output_path=str(corpus / "run"),
        datasets=[BaseDatasetConfig(formatter="coqui", meta_file_train="metadata.csv", path=str(corpus))],
        max_audio_len=SAMPLE_RATE * 8,
        min_audio_len=SAMPLE_RATE // 2,
        eval_split_max_size=32,
        lr=1e-3,
        lr_scheduler_params={"warmup_steps": 400},
        scheduler_after_epoch=False,  # else Noam steps once an epoch and nothing is learned
        training_seed=7,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    recordings = len((arguments.corpus / "metadata.csv").read_text().splitlines()) - 1
    config = configuration(arguments.corpus.resolve(), math.ceil(arguments.steps * BATCH / recordings))
    train_samples, eval_samples = load_tts_samples(config)
    model = MixedForwardTTS.init_from_config(config)
    Trainer(
        TrainerArgs(),
        config,
        str(arguments.corpus / "run"),
        model=model,
        train_samples=train_samples,
        eval_samples=eval_samples,
    ).fit()


if __name__ == "__main__":
    main()
