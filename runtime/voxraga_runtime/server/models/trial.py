"""The spoken test of an uploaded model, in a process of its own that can reach nothing: `python -m` this module.

What it is told comes as JSON in its only argument, what it found goes as JSON to its last line of output.
"""

import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxraga_runtime.common import confine

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxraga_runtime.server.engines.base import Engine

LARGEST_FILE = 64 << 20  # bytes; caches of compiled code
UNCONFINED = "Unconfined"  # the reason where this machine can't confine a process


def main(make: "Callable[[Path], Engine] | None" = None) -> None:
    """Confine this process, load the model and speak; print {"voices", "memory"} or {"reason", "message"}."""
    told = json.loads(sys.argv[1])
    try:
        confine.confine(cpu_seconds=told["cpu_seconds"], file_bytes=LARGEST_FILE)
    except OSError as error:
        found: dict[str, Any] = {"reason": UNCONFINED, "message": str(error)}
    else:
        found = _tried(told, make or _engine)
    print(json.dumps(found), flush=True)  # noqa: T201 - this is what it is for


def _tried(told: dict[str, Any], make: "Callable[[Path], Engine]") -> dict[str, Any]:
    import torch  # noqa: PLC0415 - only once the process is confined

    from voxraga_runtime.common.errors import StartupError  # noqa: PLC0415
    from voxraga_runtime.common.settings import ServerSettings  # noqa: PLC0415
    from voxraga_runtime.server.models.model import prepare  # noqa: PLC0415
    from voxraga_runtime.server.models.stored import Stored  # noqa: PLC0415
    from voxraga_runtime.store.manifest import ModelInfo  # noqa: PLC0415

    path = Path(told["path"])
    torch.set_num_threads(told["threads"])
    settings = ServerSettings.model_construct(model_name="upload", model_path=path)
    try:
        engine = make(path)
        confine.limit_memory(told["memory"])
        model = prepare(settings, engine, Stored("upload", path, "uploaded", ModelInfo()))
    except StartupError as error:
        return {"reason": error.reason, "message": error.message}
    except MemoryError:
        return {"reason": "ModelInvalid", "message": f"it needs more than {told['memory']} bytes of memory"}
    except Exception as error:  # noqa: BLE001 - whatever a broken model raises
        return {"reason": "ModelInvalid", "message": f"{type(error).__name__}: {error}"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return {"voices": len(model.gains), "memory": peak}


def _engine(path: Path) -> "Engine":
    from voxraga_runtime.server.engines.bundle import Bundle  # noqa: PLC0415

    if Bundle(path).architecture() == "xtts":
        from voxraga_runtime.server.engines.xtts import XttsEngine  # noqa: PLC0415

        return XttsEngine(path)
    from voxraga_runtime.server.engines.coqui import CoquiEngine  # noqa: PLC0415

    return CoquiEngine(path)


if __name__ == "__main__":
    main()
