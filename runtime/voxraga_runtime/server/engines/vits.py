"""VITS in two steps: text to latents (under a tenth of the work), and latents to samples in slices, exactly.

The decoder is convolutions only, so a slice of its samples can be computed alone (see hifigan): first audio takes a
tenth of a sentence and one slice, slices are made on several cores, and a client that leaves stops the work.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from voxraga_runtime.server.engines import hifigan
from voxraga_runtime.server.engines.tempo import at_speed, frames_rounded_up

# A slice costs about 9 frames more than it has. By these sizes a listener of a stream never waits as long as all of it
# is made in 0.8 of the time it takes to hear it; growing by 2 would need 0.5 (simulated with the costs measured).
FIRST_SLICE = 24  # frames, 0.28 s at 22.05 kHz
GROWTH = 1.25
LARGEST_SLICE = 64  # frames; longer ones are no quicker by the frame, and leave cores idle at a sentence's end
QUANTUM = 8  # frames; slices are multiples of it where they can, so that those of several sentences go together
EDGE = 8  # frames that the last slice has at least: room for the fade at the sentence's end


@dataclass(frozen=True, slots=True)
class Latents:
    """A sentence before the decoder: `z` [1, channels, frames], the speaker's `g`, frames for each token [tokens]."""

    z: torch.Tensor
    g: torch.Tensor | None
    durations: torch.Tensor


class _Tap(torch.nn.Module):
    """Stands where the decoder stands and keeps what it would have been given."""

    def __init__(self) -> None:
        super().__init__()
        self.z: torch.Tensor | None = None
        self.g: torch.Tensor | None = None

    def forward(self, z: torch.Tensor, g: torch.Tensor | None = None) -> torch.Tensor:
        self.z, self.g = z, g
        return z[:, :1]


def latents(model: Any, x: torch.Tensor, conditions: dict[str, torch.Tensor | None], speed: float) -> Latents:
    """Run everything but the decoder, by coqui's own inference; the model itself is left as it is."""
    view = at_speed(model, speed, frames_rounded_up) if speed != 1.0 else copy.copy(model)
    tap = _Tap()
    view._modules = {**model._modules, "waveform_decoder": tap}  # noqa: SLF001 - a view's own table of submodules
    outputs = view.inference(x, conditions)
    assert tap.z is not None
    return Latents(tap.z, tap.g, outputs["durations"].reshape(-1))


# z [1, channels, n] and g through the decoder by a layout, to samples [n * hop]
Decode = Callable[[torch.Tensor, torch.Tensor | None, hifigan.Layout], torch.Tensor]
Window = tuple[torch.Tensor, torch.Tensor | None]


def decode(decoder: Any, made: Latents, cut: hifigan.Span, run: Decode, *, together: bool = False) -> torch.Tensor:
    """The samples of one slice.

    `together` says that `run` decodes several windows of one layout at once: the slice is then made from up to QUANTUM
    frames before it, so that others have its length.
    """
    start, end = cut
    begin = max(0, end - _rounded_up(end - start)) if together else start
    (left, right), layout = hifigan.layout(decoder, begin, end, made.z.shape[-1])
    samples = run(made.z[:, :, left:right], made.g, layout)
    return samples[len(samples) // (end - begin) * (start - begin) :]


def decode_together(decoder: Any, layout: hifigan.Layout, windows: list[Window]) -> list[torch.Tensor]:
    """Windows of one layout through the decoder at once; each row is what it is alone."""
    with torch.inference_mode():
        speakers = [g for _, g in windows if g is not None]
        z = torch.cat([z for z, _ in windows])
        return list(hifigan.run(decoder, z, torch.cat(speakers) if speakers else None, layout))


def slices(frames: int, *, streamed: bool) -> list[hifigan.Span]:
    """Where to cut a sentence: for a listener short at first and then longer, else into nearly equal parts."""
    size = float(FIRST_SLICE if streamed else LARGEST_SLICE)
    cuts, start = [], 0
    while start < frames:
        left = frames - start
        equal = math.ceil(left / math.ceil(left / LARGEST_SLICE))
        length = min(_rounded_up(equal), int(size) // QUANTUM * QUANTUM)
        if left - length < EDGE:
            length = left
        cuts.append((start, start + length))
        start += length
        size *= GROWTH
    return cuts


def _rounded_up(frames: int) -> int:
    return -(-frames // QUANTUM) * QUANTUM
