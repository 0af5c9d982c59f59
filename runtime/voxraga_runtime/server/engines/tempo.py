"""Speed for models that predict durations, exact for each call and without touching the shared model."""

import copy
from collections.abc import Callable
from typing import Any

import torch

MULTIPLICATIONS = frozenset({"mul", "__mul__", "__rmul__"})
STEPS = 24  # bisection: the factor is known to 1e-7, far below one frame


def frames_rounded_up(durations: torch.Tensor) -> torch.Tensor:
    """How many frames VITS and GlowTTS make of these durations: each is rounded up, and is one at least."""
    return torch.ceil(durations).clamp_min(1)


def frames_rounded(durations: torch.Tensor) -> torch.Tensor:
    """How many frames ForwardTTS makes of these durations: each is rounded, and is one at least."""
    return torch.round(durations).clamp_min(1)


class Tempo:
    """Stands in for a model's `length_scale`: `durations * Tempo(2.0, …)` are durations that take half the frames.

    Multiplying by 0.5 would not do: the model then rounds each token's frames up (or to one at least), and at
    twice the speed most tokens have one to three frames, so that 2.0 sounds like 1.6. Here the factor is searched
    for which the rounded sum is the wanted one. All durations (any shape, frames, before rounding) are one text's.
    """

    def __init__(self, speed: float, frames: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.speed = speed
        self.frames = frames

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """`tensor * tempo` arrives here: the one operation a Tempo takes part in."""
        del types, kwargs
        tempo = next((a for a in args if isinstance(a, cls)), None)
        tensor = next((a for a in args if isinstance(a, torch.Tensor)), None)
        if tempo is None or tensor is None or getattr(func, "__name__", "") not in MULTIPLICATIONS:
            return NotImplemented
        return tempo.apply(tensor)

    def apply(self, durations: torch.Tensor) -> torch.Tensor:
        """Scale so that the rounded total is the natural total divided by the speed, as near as whole frames allow."""
        if self.speed == 1.0 or durations.numel() == 0:
            return durations
        target = self.frames(durations).sum() / self.speed
        low, high = 0.05, 20.0
        for _ in range(STEPS):
            middle = (low * high) ** 0.5
            if self.frames(durations * middle).sum() > target:
                high = middle
            else:
                low = middle
        return durations * high


def at_speed(model: torch.nn.Module, speed: float, frames: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A view of `model` that speaks at `speed`: its own attributes, the same weights and submodules.

    Setting `length_scale` on the model itself would change the speed of every request that is running.
    """
    view = copy.copy(model)
    view.length_scale = Tempo(speed, frames)  # type: ignore[assignment]
    return view
