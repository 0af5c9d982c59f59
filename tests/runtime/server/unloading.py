"""Load two models in turns where there is room for one, then delete them. A program: alone in its process, or the
memory of others would be counted.

    python -m tests.runtime.server.unloading FOLDER

Prints the bytes of a model's weights, what was resident after each load, and what after the last one was gone.
"""

import asyncio
import json
import sys
from pathlib import Path

from tests.runtime.server import models
from tests.runtime.server.brought import publish_bundle
from tests.runtime.server.engine import ToneEngine
from voxraga_runtime.common.metrics import ServerMetrics
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server import memory
from voxraga_runtime.server.engines.coqui import CoquiEngine
from voxraga_runtime.server.models import stored as stores
from voxraga_runtime.server.models.model import prepare, settings_for
from voxraga_runtime.server.models.registry import Registry
from voxraga_runtime.store.uploads import Uploads

WIDE = {"upsample_initial_channel_decoder": 1024}  # 60 MiB of weights


async def main(folder: Path) -> None:
    uploads = Uploads(folder / "uploads")
    for name in ("a", "b"):
        publish_bundle(uploads, name, models.vits(folder / name, decoder=WIDE))
    settings = load_settings(model_name="n", model_path=folder, uploads_path=uploads.path, models_max_loaded=2)
    registry = Registry(
        settings,
        ServerMetrics(),
        uploads,
        lambda stored: prepare(settings_for(settings, stored), CoquiEngine(stored.path), stored),
        lambda: None,
    )
    registry.start(prepare(settings, ToneEngine(), stores.read("n", folder)))
    levels = []
    for name in "ababab":  # each evicts the other
        model = await registry.take(name, asyncio.Event())
        registry.give_back(model)
        levels.append(memory.resident())
    weights = model.memory
    del model
    uploads.remove("b")
    registry.forget("b")
    while registry._tasks:
        await asyncio.wait(registry._tasks)
    print(json.dumps({"weights": weights, "loaded": levels, "none": memory.resident()}))
    registry.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
