"""Any part of what a HiFi-GAN makes, exactly, and for hardly more than that part costs.

A sample depends on 13 frames on each side in coqui's usual decoder, but nearly all of that reach is used up by its
first layers, which work at the lowest rates: of the last layer's input a slice needs a few samples more than itself. So
each layer is given just what the layers after it look at. For 24 frames, context in every layer costs 153 ms on one
core of the machine of docs/bench.md, this 93 ms. Slices are also quicker than the whole, which no cache holds: 3.2 ms a
frame in 64 frames at once, 5.5 ms in 768.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import leaky_relu
from torch.nn.utils import parametrize
from TTS.vocoder.models.hifigan_generator import LRELU_SLOPE

Span = tuple[int, int]  # from, to


@dataclass(frozen=True, slots=True)
class Stage:
    """One rate of the decoder: what goes into its transposed convolution and its residual blocks, and what is kept.

    Each span counts from the start of what the layer before gave. `blocks` has (in, out) for each block.
    """

    up: Span
    blocks: tuple[tuple[Span, Span], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What each layer computes for one window; equal for all windows of one length that lie inside their sentences."""

    stages: tuple[Stage, ...]
    samples: Span


def fold_weights(model: torch.nn.Module) -> None:
    """Compute the normalised weights once, not with every call; the samples stay the same, bit by bit."""
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def layout(decoder: Any, start: int, end: int, frames: int) -> tuple[Span, Layout]:
    """For frames `start` to `end` of a sentence of `frames`: the frames that must be given, and what to do with them.

    Worked out from the last layer to the first. At a sentence's own ends the layers' padding is right, and stays.
    """
    rates = [1]
    for up in decoder.ups:
        rates.append(rates[-1] * up.stride[0])
    hop = rates[-1]
    wanted = (start * hop, end * hop)
    needed = _wider(wanted, _half(decoder.conv_post), frames * hop)
    samples = _within(wanted, needed[0])
    stages = []
    for i in reversed(range(len(decoder.ups))):
        up, kept = decoder.ups[i], needed
        spans = [_wider(kept, _block_reach(b), frames * rates[i + 1]) for b in _blocks(decoder, i)]
        needed = _before(up, (min(a for a, _ in spans), max(b for _, b in spans)), frames * rates[i])
        given = needed[0] * up.stride[0]  # where the transposed convolution's output begins
        stages.append((needed, tuple((_within(s, given), _within(kept, s[0])) for s in spans), kept))
    window = _wider(needed, _half(decoder.conv_pre), frames)
    begins = [window[0], *(kept[0] for _, _, kept in reversed(stages))]
    made = (Stage(_within(n, begin), blocks) for (n, blocks, _), begin in zip(reversed(stages), begins, strict=False))
    return window, Layout(tuple(made), samples)


def run(
    decoder: Any, z: torch.Tensor, g: torch.Tensor | None, plan: Layout, check: Callable[[], None] = lambda: None
) -> torch.Tensor:
    """Windows [batch, channels, frames] of one layout to samples [batch, n]; `check` is called every few ms of work.

    As HifiganGenerator.forward does it, with the type of number that the decoder's weights have.
    """
    kind = decoder.conv_pre.weight.dtype
    x = decoder.conv_pre(z.to(kind))
    g = None if g is None else g.to(kind)
    if hasattr(decoder, "cond_layer"):
        x = x + decoder.cond_layer(g)
    for i, stage in enumerate(plan.stages):
        x = decoder.ups[i](leaky_relu(_cut(x, stage.up), LRELU_SLOPE))
        if decoder.cond_in_each_up_layer:
            x = x + decoder.conds[i](g)
        total = None
        for block, (given, kept) in zip(_blocks(decoder, i), stage.blocks, strict=True):
            check()
            part = _cut(block(_cut(x, given)), kept)
            total = part if total is None else total + part
        assert total is not None
        x = total / decoder.num_kernels
    samples: torch.Tensor = torch.tanh(decoder.conv_post(leaky_relu(x)))
    return _cut(samples, plan.samples)[:, 0]


def _blocks(decoder: Any, stage: int) -> Any:
    count = decoder.num_kernels
    return decoder.resblocks[stage * count : (stage + 1) * count]


def _cut(x: torch.Tensor, span: Span) -> torch.Tensor:
    return x[:, :, span[0] : span[1]]


def _within(span: Span, begin: int) -> Span:
    return span[0] - begin, span[1] - begin


def _wider(span: Span, by: int, length: int) -> Span:
    return max(0, span[0] - by), min(length, span[1] + by)


def _before(up: Any, span: Span, length: int) -> Span:
    """What a transposed convolution needs for a span of its output: o comes of the i with 0 <= o + p - i * s < k."""
    kernel, stride, padding = up.kernel_size[0], up.stride[0], up.padding[0]
    first, last = math.ceil((span[0] + padding - kernel + 1) / stride), (span[1] - 1 + padding) // stride
    return max(0, first), min(length, last + 1)


def _block_reach(block: Any) -> int:
    """A residual block's convolutions follow one another."""
    return sum(_half(m) for m in block.modules() if isinstance(m, torch.nn.Conv1d))


def _half(conv: Any) -> int:
    return int((conv.kernel_size[0] - 1) * conv.dilation[0] // 2)
