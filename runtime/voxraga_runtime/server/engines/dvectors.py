"""Recordings as voices of a model that speaks by d-vectors (YourTTS), by the speaker encoder in its bundle."""

from pathlib import Path
from typing import Any

import torch

from voxraga_runtime.server.engines.base import Voice
from voxraga_runtime.server.engines.latents import KeptLatents
from voxraga_runtime.store.references import Reference, find_references


def clones(model: Any) -> bool:
    """Whether a coqui model takes any speaker's vector, and has the encoder that makes them."""
    manager = model.speaker_manager
    wanted = getattr(model.args, "use_d_vector_file", False)
    return bool(wanted and manager is not None and getattr(manager, "encoder", None) is not None)


def recorded_voices(model: Any, folder: Path, kept: KeptLatents) -> dict[Voice, torch.Tensor]:
    """The voices below `folder` that the model has no name for yet, each with its vector [1, dimensions]."""
    own = set(model.speaker_manager.name_to_id)
    return {
        Voice(found.name, found.language, origin="recording", license=found.license): kept.of(
            found, lambda reference: (_embedding(model, reference),)
        )[0]
        for found in find_references(folder, int(model.speaker_manager.encoder_ap.sample_rate))
        if found.name not in own
    }


@torch.inference_mode()
def _embedding(model: Any, reference: Reference) -> torch.Tensor:
    """The mean of the clips' vectors, as SpeakerManager.compute_embedding_from_clip has it; no silence is cut off."""
    manager = model.speaker_manager
    by_torch = manager.encoder_config.model_params.get("use_torch_spec", False)
    device = next(manager.encoder.parameters()).device
    vectors = []
    for clip in reference.clips:
        features = torch.from_numpy(clip if by_torch else manager.encoder_ap.melspectrogram(clip))
        vectors.append(manager.encoder.compute_embedding(features[None].to(device)))
    return torch.stack(vectors).mean(dim=0)
