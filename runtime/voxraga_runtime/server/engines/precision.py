"""Which numbers a model computes with: float32, or half as many bits where model and device hold that.

What holds was judged by what comes out beside float32 (docs/bench.md): VITS's decoder, which is nearly all of its work;
what goes before it decides how long each sound is and stays float32. Not in half precision: models whose time is
Griffin-Lim's or a vocoder's of its own, XTTS and Whisper, which were not measured in it.
"""

from typing import Literal

import torch

from voxraga_runtime.common.errors import StartupError

Precision = Literal["float32", "float16", "bfloat16"]
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def decoder_type(precision: Precision, device: str, model: str, *, holds: bool) -> torch.dtype:
    """What a model's decoder computes in; `holds` says whether that kind of model may have less than float32.

    Raises StartupError: SettingsInvalid where it makes no sense, DeviceUnavailable where this machine can't.
    """
    if precision != "float32":
        if not holds:
            raise _refused("SettingsInvalid", precision, f"{model} is served in float32 only; unset it")
        if device == "cpu" and precision == "float16":
            raise _refused("SettingsInvalid", precision, "CPUs convolve in float32 or bfloat16; set one of those")
        if precision == "bfloat16" and not _computes_bfloat16(device):
            raise _refused(
                "DeviceUnavailable",
                precision,
                f"this {'CPU (no avx512_bf16, amx_bf16)' if device == 'cpu' else 'GPU'} doesn't compute in it; "
                f"set {'float32' if device == 'cpu' else 'float16'}",
            )
    return TYPES[precision]


def _computes_bfloat16(device: str) -> bool:
    if device == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - what torch's own compiler asks
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _refused(reason: str, precision: str, why: str) -> StartupError:
    return StartupError(reason, f"VOXRAGA_PRECISION is {precision}: {why}")
