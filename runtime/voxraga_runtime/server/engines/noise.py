"""Random numbers of one request: drawn from its own generator, whatever other threads draw meanwhile."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class OwnNoise(TorchFunctionMode):
    """While entered, this thread's random draws come from a generator seeded with `seed`.

    torch has one global generator for each device: with two threads, each request's noise would depend on the
    other's. coqui's models call torch.randn, torch.randn_like and dropout, Whisper torch.multinomial; a mode is
    entered by one thread only.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[str, torch.Generator] = {}

    def generator(self, device: torch.device | str | None) -> torch.Generator:
        """This request's generator on a device, made at its first draw there."""
        name = str(device or "cpu")
        if name not in self._generators:
            self._generators[name] = torch.Generator(name).manual_seed(self._seed)
        return self._generators[name]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        kwargs = kwargs or {}
        draw = _DRAWS.get(func)
        return draw(self, *args, **kwargs) if draw else func(*args, **kwargs)

    def randn_like(self, like: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return torch.randn(
            like.shape,
            generator=self.generator(kwargs.get("device", like.device)),
            dtype=kwargs.get("dtype", like.dtype),
            device=kwargs.get("device", like.device),
        )

    def rand_like(self, like: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.rand(like.shape, generator=self.generator(like.device), dtype=like.dtype, device=like.device)

    def randn(self, *size: Any, **kwargs: Any) -> torch.Tensor:
        kwargs.setdefault("generator", self.generator(kwargs.get("device")))
        return torch.randn(*size, **kwargs)

    def rand(self, *size: Any, **kwargs: Any) -> torch.Tensor:
        kwargs.setdefault("generator", self.generator(kwargs.get("device")))
        return torch.rand(*size, **kwargs)

    def multinomial(self, weights: torch.Tensor, num_samples: int, **kwargs: Any) -> torch.Tensor:
        """How Whisper draws its tokens."""
        kwargs.setdefault("generator", self.generator(weights.device))
        return torch.multinomial(weights, num_samples, **kwargs)

    def dropout(self, x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        """Tacotron's prenet keeps its dropout in inference: it is part of how the model speaks."""
        del inplace
        if not training or p == 0:
            return x
        kept = torch.rand(x.shape, generator=self.generator(x.device), device=x.device) >= p
        return x * kept / (1 - p)


_DRAWS: dict[Any, Callable[..., torch.Tensor]] = {
    torch.randn_like: OwnNoise.randn_like,
    torch.rand_like: OwnNoise.rand_like,
    torch.randn: OwnNoise.randn,
    torch.rand: OwnNoise.rand,
    torch.multinomial: OwnNoise.multinomial,
    torch.nn.functional.dropout: OwnNoise.dropout,
}
