"""VITS in two steps: text to latents (under a tenth of the work), and latents to samples in slices, exactly.

The decoder is convolutions only: a slice decoded with as many frames of context on each side as it looks at gives the
samples that decoding everything at once gives (up to the last bits of float32). First audio then takes a tenth of a
sentence and one slice, and a client that leaves stops the work at the next slice.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from voxraga_runtime.server.engines.base import Cancelled
from voxraga_runtime.server.engines.tempo import at_speed, frames_rounded_up

# Where a frame takes 0.35 of its own length (one thread of a CPU), 24 frames play nearly as long as the next slice, 48
# and their context, takes. Measured there: first audio after 0.19 to 0.24 s of a sentence of 4.7 s that takes 1.9 s.
FIRST_SLICE = 24  # frames, 0.28 s at 22.05 kHz
GROWTH = 2
LARGEST_SLICE = 256  # frames, where a listener waits
WHOLE_SLICE = 768  # frames, where nobody listens yet: only to notice a client that left
LEAST_CONTEXT = 12  # frames; measured on coqui's usual decoder: 4 frames err by 1.7e-3 of the peak, 8 by 3e-5, 12 by 0
QUANTUM = 16  # frames; where slices of several sentences are decoded at once, windows are multiples of it
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


Decode = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]  # z [1, c, n] and g to samples [n * hop]


def decode(
    model: Any, made: Latents, *, streamed: bool, cancelled: Cancelled, together: Decode | None = None
) -> Iterator[tuple[torch.Tensor, bool]]:
    """The samples [n] of each slice, and whether it is the last; ends early once nobody wants them.

    `together` decodes a window in company (see batching); windows then have lengths that others have, too.
    """
    context = max(LEAST_CONTEXT, reach(model.waveform_decoder))
    frames = made.z.shape[-1]
    for start, end in slices(frames, streamed=streamed or together is not None):
        if cancelled():
            return
        left, right = max(0, start - context), min(frames, end + context)
        if together is None:
            samples = model.waveform_decoder(made.z[:, :, left:right], g=made.g)[0, 0]
        else:
            left, right = widened(left, right, frames)
            samples = together(made.z[:, :, left:right], made.g)
        hop = samples.shape[0] // (right - left)
        yield samples[(start - left) * hop : (end - left) * hop], end == frames


def widened(left: int, right: int, frames: int) -> tuple[int, int]:
    """More context than needed, so that the length is a multiple of QUANTUM, if the sentence is that long.

    The samples stay the same. Padding with zeros would not do: inside the decoder they become other numbers.
    """
    length = -(-(right - left) // QUANTUM) * QUANTUM
    if length > frames:
        return left, right
    right = min(frames, max(right, left + length))
    return right - length, right


def decode_together(decoder: Any, windows: list[tuple[torch.Tensor, torch.Tensor | None]]) -> list[torch.Tensor]:
    """Windows of equal length through the decoder at once; each row is what it is alone."""
    with torch.inference_mode():
        speakers = [g for _, g in windows if g is not None]
        samples = decoder(torch.cat([z for z, _ in windows]), g=torch.cat(speakers) if speakers else None)
    return list(samples[:, 0])


def slices(frames: int, *, streamed: bool) -> list[tuple[int, int]]:
    """Where to cut: short at first and then longer, or long from the start."""
    size, largest = (FIRST_SLICE, LARGEST_SLICE) if streamed else (WHOLE_SLICE, WHOLE_SLICE)
    cuts, start = [], 0
    while start < frames:
        end = start + size
        if frames - end < max(EDGE, size // 2):  # a short rest goes with the slice before it
            end = frames
        cuts.append((start, end))
        start, size = end, min(largest, size * GROWTH)
    return cuts


def reach(decoder: Any) -> int:
    """How many frames on each side a HiFi-GAN's sample depends on, at most: read off its convolutions."""
    frames = _half(decoder.conv_pre)
    rate = 1.0
    blocks = len(decoder.resblocks) // len(decoder.ups)
    for i, up in enumerate(decoder.ups):
        frames += (up.kernel_size[0] - 1) / (2 * up.stride[0] * rate)
        rate *= up.stride[0]
        frames += max(_block_reach(b) for b in decoder.resblocks[i * blocks : (i + 1) * blocks]) / rate
    # a frame's first and last samples lie half a frame from its middle
    return math.ceil(frames + _half(decoder.conv_post) / rate + 0.5)


def _block_reach(block: Any) -> float:
    """A residual block's convolutions follow one another."""
    return sum(_half(m) for m in block.modules() if isinstance(m, torch.nn.Conv1d))


def _half(conv: Any) -> float:
    return float((conv.kernel_size[0] - 1) * conv.dilation[0] / 2)
