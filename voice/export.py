"""Turn a training checkpoint into the demo voice: half precision, no training state, no path of the training machine.

    python export.py RUN/checkpoint_N.pth OUT

Writes OUT/model.pth and OUT/config.json; voice.json and NOTICE beside them are written by hand.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

POWER = 1.0  # of Griffin-Lim; judged on the finished voice (README.md), not a matter of training
KEPT = (
    "model", "base_model", "audio", "model_args", "use_speaker_embedding", "speakers", "characters",
    "use_phonemes", "phonemizer", "phoneme_language", "text_cleaner", "add_blank", "enable_eos_bos_chars", "r",
)  # fmt: skip


def weights(checkpoint: Path) -> dict[str, Any]:
    """The weights alone, in float16 (copied into float32 when loaded); the aligner is needed in training only."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    spoken = {k: v for k, v in state.items() if not k.startswith("aligner.")}
    return {"model": {k: v.half() if v.is_floating_point() else v for k, v in spoken.items()}}


def configuration(path: Path) -> dict[str, Any]:
    """What the model needs to speak, and nothing that only training reads."""
    trained = json.loads(path.read_text())
    kept = {k: trained[k] for k in KEPT if k in trained}
    kept["model_args"] |= {"use_aligner": False, "speakers_file": None}
    kept["audio"]["power"] = POWER
    return kept


def main(checkpoint: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    torch.save(weights(checkpoint), out / "model.pth")
    (out / "config.json").write_text(json.dumps(configuration(checkpoint.parent / "config.json"), indent=1) + "\n")
    print(f"{(out / 'model.pth').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
