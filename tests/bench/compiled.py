"""Would a compiler make VITS's decoder quicker on a CPU? One window, one thread: as it is, onnxruntime, torch.compile.

    uv run --all-extras --group bench --with onnx --with onnxruntime python -m tests.bench.compiled

Needs a C++ compiler, for torch.compile.
"""

import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.bench import model
from voxraga_runtime.server.engines.coqui import CoquiEngine

FRAMES = 64  # as a slice has
TIMES = 5


def main() -> None:
    """Print milliseconds, and the greatest difference of a sample."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="voxraga-bench-") as scratch:
        model.write(Path(scratch) / "vits")
        engine = CoquiEngine(Path(scratch) / "vits")
        engine.load()
        decoder = engine._model.waveform_decoder
        z = torch.randn(1, decoder.conv_pre.in_channels, FRAMES)
        with torch.inference_mode():
            wanted = decoder(z)
            _report("as it is", lambda: decoder(z), wanted)
        with torch.no_grad():
            _report("onnxruntime", _onnx(decoder, z, Path(scratch) / "decoder.onnx"), wanted)
            torch._inductor.config.freezing = True
            compiled: Any = torch.compile(decoder)
            _report("torch.compile, frozen", lambda: compiled(z), wanted)


def _onnx(decoder: Any, z: torch.Tensor, path: Path) -> Callable[[], torch.Tensor]:
    onnxruntime: Any = importlib.import_module("onnxruntime")  # not among the project's packages
    torch.onnx.export(decoder, (z,), str(path), dynamo=False, input_names=["z"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {"z": z.numpy()}
    return lambda: torch.from_numpy(session.run(None, given)[0])


def _report(name: str, run: Callable[[], torch.Tensor], wanted: torch.Tensor) -> None:
    difference = float((run() - wanted).abs().max())
    run()
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    print(f"{name}: {statistics.median(took) * 1000:.0f} ms, differs by {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
