"""Inference of coqui's ForwardTTS family (SpeedySpeech, FastPitch, FastSpeech), for any length and any speed.

ForwardTTS.inference runs one sequence without padding. SpeedySpeech's convolutions (kernel 4, dilation 4) cut 12
positions off and put zeros there afterwards: a text of fewer than 13 tokens ("Hi.") fails, and the last frames of every
sentence are computed from zeros. In training all but the longest of a batch were padded, so here every sequence is:
masked padding at the end of the tokens and of the frames, cut off again.
"""

from typing import Any

import torch
from TTS.tts.utils.helpers import generate_attention, sequence_mask

from voxraga_runtime.server.engines.tempo import Tempo, frames_rounded

MARGIN = 24  # positions; two convolutions of a block reach 12 each, and the mask is applied after each block


def infer_forward(
    model: Any, x: torch.Tensor, conditions: dict[str, torch.Tensor | None], speed: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [1, n] to a normalised spectrogram [1, frames, bins] and the frames of each token [n].

    Reads the model, writes nothing to it.
    """
    g = model._get_speaker_conditioning(  # noqa: SLF001 - as ForwardTTS.inference does
        conditions, "emb_g", normalize_d_vector=False, normalize_embedding=False
    )
    length = x.shape[1]
    x = torch.nn.functional.pad(x, (0, MARGIN))
    x_mask = sequence_mask(torch.tensor([length], device=x.device), x.shape[1]).unsqueeze(1).float()
    encoded, x_mask, g, _ = model._forward_encoder(x, x_mask, g)  # noqa: SLF001
    durations = _durations(model, encoded, x_mask, speed)
    if model.args.use_pitch:
        encoded = encoded + model._forward_pitch_predictor(encoded, x_mask)[0]  # noqa: SLF001
    if model.args.use_energy:
        encoded = encoded + model._forward_energy_predictor(encoded, x_mask)[0]  # noqa: SLF001
    frames = int(durations.sum())
    y_mask = sequence_mask(torch.tensor([frames], device=x.device), frames + MARGIN).unsqueeze(1).float()
    expanded = torch.matmul(encoded, generate_attention(durations, x_mask, y_mask).float())
    if hasattr(model, "pos_encoder"):
        expanded = model.pos_encoder(expanded, y_mask)
    decoded: torch.Tensor = model.decoder(expanded, y_mask, g=None)
    return decoded.transpose(1, 2)[:, :frames], durations[0, :length]


def _durations(model: Any, encoded: torch.Tensor, x_mask: torch.Tensor, speed: float) -> torch.Tensor:
    """Whole frames for each token, [1, n]: at least one for a real one, none for padding."""
    natural = (torch.exp(model.duration_predictor(encoded, x_mask)) - 1) * model.length_scale
    wanted = Tempo(speed, frames_rounded).apply(natural[x_mask.bool()])
    durations = torch.zeros_like(natural)
    durations[x_mask.bool()] = frames_rounded(wanted)
    return durations.squeeze(1)
