"""A loaded model: an engine that has spoken, what it offers, and how many requests it has now."""

import asyncio
import time
from dataclasses import dataclass, field

from voxraga_runtime.common.settings import ServerSettings
from voxraga_runtime.server.admission import Lane
from voxraga_runtime.server.engines.base import Capabilities, Engine
from voxraga_runtime.server.models.stored import Stored
from voxraga_runtime.server.requests import Catalogue
from voxraga_runtime.server.warmup import warm_up


@dataclass(eq=False, slots=True)
class Model:
    """`gains` by voice. `users` are the requests that wait for it or speak with it; while there are any it stays.

    `last_used` is in seconds since 1970; `idle` is the timer that unloads it.
    """

    stored: Stored
    engine: Engine
    catalogue: Catalogue
    gains: dict[str, float]
    lane: Lane
    users: int = 0
    last_used: float = field(default_factory=time.time)
    idle: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def memory(self) -> int:
        """Bytes that it holds."""
        return self.engine.memory


def prepare(settings: ServerSettings, engine: Engine, stored: Stored) -> Model:
    """Load and speak, in a worker. Raises StartupError."""
    try:
        engine.load()
        catalogue = Catalogue(settings, engine, stored.info.languages)
        gains = warm_up(engine, catalogue.default_voice, catalogue.default_language)
    except BaseException:
        engine.close()
        raise
    return Model(stored, engine, catalogue, gains, Lane(_width(engine.capabilities)))


def settings_for(settings: ServerSettings, stored: Stored) -> ServerSettings:
    """The server's settings for a model that isn't its own: some are about that one's voices and processes."""
    about_own: dict[str, object] = {"default_voice": None, "default_language": None, "max_concurrency": None}
    about_own |= {"voice_aliases": {}, "lexicon": {}, "precision": "float32"}
    return settings.model_copy(update={"model_name": stored.name, "model_path": stored.path, **about_own})


def _width(capabilities: Capabilities) -> int | None:
    """How many of its requests may run at once; None for as many as there are workers."""
    return capabilities.parallel or (None if capabilities.reentrant else 1)
