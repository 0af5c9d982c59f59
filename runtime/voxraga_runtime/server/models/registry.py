"""Which model a request means, loaded: the server's own, or an uploaded one, loaded as it is asked for.

A model that is spoken with (or waited for) stays; of the others the one that was used longest ago goes first when the
next one needs its place. Loads and unloads happen one after another, in a thread of their own.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from voxraga_runtime.common.errors import ClientGone, NotFound, Overloaded, StartupError, Unavailable, VoxragaError
from voxraga_runtime.common.metrics import ServerMetrics
from voxraga_runtime.common.settings import ServerSettings
from voxraga_runtime.server import memory
from voxraga_runtime.server.engines.processes import ProcessEngine
from voxraga_runtime.server.models import stored as stores
from voxraga_runtime.server.models.model import Model
from voxraga_runtime.server.models.stored import Stored
from voxraga_runtime.server.requests import OPENAI_MODELS
from voxraga_runtime.store import manifest
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.uploads import Uploads, name_fault

log = structlog.get_logger()

RETRY_WHILE_LOADING = 5  # seconds
RETRY_AFTER_FAILURE = 30  # seconds: whoever brought the model has to look at it


class Registry:
    """All methods belong to the event loop's thread. `open_model` loads one, in a worker; it raises StartupError."""

    def __init__(
        self,
        settings: ServerSettings,
        metrics: ServerMetrics,
        uploads: Uploads | None,
        open_model: Callable[[Stored], Model],
        setup_thread: Callable[[], None],
    ) -> None:
        self.own: Model | None = None
        self.uploads = uploads
        self._settings = settings
        self._metrics = metrics
        self._open_model = open_model
        self._loaded: dict[str, Model] = {}  # without the own one
        self._retired: dict[Model, str] = {}  # why; replaced or deleted, and still spoken with
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._wanted: Counter[str] = Counter()  # requests that wait for a load, by the model's name
        self._turn = asyncio.Lock()  # of loads: two at once would both count on the same room
        self._changed = asyncio.Event()  # somebody stopped to use a model
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loader = ThreadPoolExecutor(1, "models", initializer=setup_thread)
        self._ceiling: int | None = None
        metrics.models_loaded.set_function(lambda: len(self._held()))
        metrics.model_memory.set_function(self.memory)

    def start(self, own: Model) -> None:
        """The own model speaks: others may come, the preloaded ones at once."""
        self.own = own
        cache = self._settings.response_cache_bytes
        self._ceiling = memory.ceiling(self._settings.models_memory_bytes, own.memory, cache=cache)
        for name in self._settings.models_preload:
            self._spawn(self._preload(name))

    def close(self) -> None:
        """Nothing is waited for."""
        for task in (*self._tasks, *self._loads.values()):
            task.cancel()
        for model in self._held():
            if model.idle:
                model.idle.cancel()
            if isinstance(model.engine, ProcessEngine):  # threads end with us, processes would not
                model.engine.close()
        self._loader.shutdown(wait=False, cancel_futures=True)

    def memory(self) -> int:
        """Bytes that the loaded models hold."""
        return sum(model.memory for model in self._held())

    def _held(self) -> list[Model]:
        own = [] if self.own is None else [self.own]
        return [*own, *self._loaded.values(), *self._retired]

    def means_own(self, name: str | None) -> bool:
        """Whether a client's name for a model is one of the server's own."""
        return not name or name == self._settings.model_name or name in OPENAI_MODELS

    def loaded(self, stored: Stored) -> Model | None:
        """The model, where it is in memory just as it is stored."""
        found = self.own if self.means_own(stored.name) else self._loaded.get(stored.name)
        return found if found is not None and found.stored.identity == stored.identity else None

    async def stored(self) -> list[Stored]:
        """Every model of the uploads folder, by name, as it is now."""
        if self.uploads is None:
            return []
        try:
            found = await asyncio.to_thread(_read_all, self.uploads)
        except OSError as error:
            log.warning("the uploads folder can't be read", error=str(error))
            return []
        for name in self._loaded.keys() - {one.name for one in found}:
            self.forget(name)
        return [one for one in found if not self.means_own(one.name)]

    async def find(self, name: str) -> Stored:
        """An uploaded model. Raises NotFound, and Unavailable where the folder can't be read."""
        known = self._loaded.get(name)
        if self.uploads is not None and not name_fault(name):
            try:
                found = await asyncio.to_thread(_read_one, self.uploads, name, known.stored if known else None)
            except OSError as error:
                message = f"the uploads folder can't be read: {error.strerror}"
                raise Unavailable(message, code="uploads_unreadable", retry_after=RETRY_WHILE_LOADING) from None
            if found is not None:
                return found
        self.forget(name)
        more = " and those that GET /models lists" if self.uploads else ""
        message = f"the model {name[:80]!r} does not exist; this server has {self._settings.model_name!r}{more}"
        raise NotFound(message, param="model", code="model_not_found")

    async def take(self, name: str | None, gone: asyncio.Event) -> Model:
        """The model for a client's name, loaded; it stays until it is given back.

        Raises NotFound, Unavailable (loading, no room, the load failed), Overloaded (too many wait), ClientGone.
        """
        if self.own is None:
            raise Unavailable("the model is being loaded", code="loading", retry_after=RETRY_WHILE_LOADING)
        if not name or self.means_own(name):
            return _used(self.own)
        deadline = time.monotonic() + self._settings.queue_timeout
        self._wanted[name] += 1  # from now on until it is used it stays, or those who want another would unload it
        try:
            while True:
                stored = await self.find(name)
                if (model := self.loaded(stored)) is not None:
                    return _used(model)
                if (old := self._loaded.get(name)) is not None:
                    self._retire(old, "replaced")
                if self._wanted.total() > self._settings.queue_depth + 1:  # ours is among them
                    raise Overloaded("too many requests wait for models to be loaded", retry_after=RETRY_WHILE_LOADING)
                await self._wait(self._load_once(name), name, deadline, gone)
        finally:
            self._wanted -= Counter((name,))
            self._changed.set()

    def give_back(self, model: Model) -> None:
        """The request that took it is over."""
        model.users -= 1
        model.last_used = time.time()
        self._changed.set()
        if model.users or model is self.own:
            return
        if model in self._retired:
            self._spawn(self._unload(model, self._retired[model]))
        elif self._settings.models_idle_timeout:
            loop = asyncio.get_running_loop()
            model.idle = loop.call_later(self._settings.models_idle_timeout, self._idle_over, model)

    def forget(self, name: str) -> None:
        """It is not in the folder any more: unload it, once nobody speaks with it."""
        if (model := self._loaded.get(name)) is not None:
            self._retire(model, "deleted")

    def _retire(self, model: Model, reason: str) -> None:
        del self._loaded[model.name]
        self._retired[model] = reason
        if not model.users:
            self._spawn(self._unload(model, reason))

    def _unused(self) -> list[Model]:
        """Those that could go now, the one used longest ago first."""
        unused = [model for model in self._loaded.values() if not model.users and not self._wanted[model.name]]
        return sorted(unused, key=lambda model: model.last_used)

    def _idle_over(self, model: Model) -> None:
        if model in self._unused():
            self._spawn(self._unload(model, "idle"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps no hold of tasks
        task.add_done_callback(self._tasks.discard)

    async def _preload(self, name: str) -> None:
        try:
            self.give_back(await self.take(name, asyncio.Event()))
        except VoxragaError as error:
            log.warning("a model of VOXRAGA_MODELS_PRELOAD is not loaded", model=name, error=error.message)

    def _load_once(self, name: str) -> "asyncio.Task[None]":
        """The load of this model that is under way, or a new one."""
        task = self._loads.get(name)
        if task is None:
            task = self._loads[name] = asyncio.create_task(self._load(name))
            task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _ended(self, name: str, task: "asyncio.Task[None]") -> None:
        del self._loads[name]
        if not task.cancelled():
            task.exception()  # seen, also where everybody who waited for it has left

    async def _wait(self, task: "asyncio.Task[None]", name: str, deadline: float, gone: asyncio.Event) -> None:
        leaving = asyncio.ensure_future(gone.wait())
        left = max(0.0, deadline - time.monotonic())
        try:
            await asyncio.wait({task, leaving}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if gone.is_set():
            raise ClientGone("the client left while its model was loaded")
        if not task.done():
            message = f"the model {name!r} is still being loaded; send the request again"
            raise Unavailable(message, code="loading", retry_after=RETRY_WHILE_LOADING)
        task.result()

    async def _load(self, name: str) -> None:
        async with self._turn:
            while self.loaded(stored := await self.find(name)) is None:  # as it is now: it may have been replaced
                await self._make_room(stored)
                try:
                    model = await self._opened(stored)
                except Unavailable:
                    if (await self.find(name)).identity == stored.identity:
                        raise
                    continue
                self._loaded[name] = model
                while self._over(0) and (others := [one for one in self._unused() if one is not model]):
                    await self._unload(others[0], "memory")  # it holds more than its files let expect

    async def _opened(self, stored: Stored) -> Model:
        """Loaded, in the loader's thread. Raises Unavailable."""
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            model = await loop.run_in_executor(self._loader, _open, self._open_model, stored)
        except Exception as error:
            self._metrics.model_loads.labels("failed").inc()
            await loop.run_in_executor(self._loader, memory.give_back)
            raise _failed(stored, error) from error
        self._metrics.model_loads.labels("loaded").inc()
        log.info("model loaded", model=stored.name, seconds=round(time.monotonic() - began, 2), bytes=model.memory)
        return model

    async def _make_room(self, stored: Stored) -> None:
        """Unload until there is room for one more; raises Unavailable where nobody can be, or none in time."""
        deadline = time.monotonic() + self._settings.queue_timeout
        self._check_size(stored)
        while (reason := self._lacks(stored)) is not None:
            if unused := self._unused():
                await self._unload(unused[0], reason)
                continue
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                message = f"there is no room for the model {stored.name!r}: every loaded one is being spoken with"
                raise Unavailable(message, code="models_busy", retry_after=RETRY_WHILE_LOADING)

    def _lacks(self, stored: Stored) -> str | None:
        """What there is too little of: places ("count"), memory, or nothing."""
        if len(self._held()) >= self._settings.models_max_loaded:
            return "count"
        return "memory" if self._over(stored.bytes) else None

    def _over(self, more: int) -> bool:
        """Whether `more` bytes would be too many."""
        return self._ceiling is not None and self.memory() + more > self._ceiling

    def _check_size(self, stored: Stored) -> None:
        """Whether there could be room for it, with nothing but the own model beside it."""
        own = self.own.memory if self.own else 0
        if self._settings.models_max_loaded == 1:
            problem = "VOXRAGA_MODELS_MAX_LOADED is 1, and that is the server's own model"
        elif self._ceiling is not None and own + stored.bytes > self._ceiling:
            problem = (
                f"it has {stored.bytes} bytes; beside the server's own model {max(0, self._ceiling - own)} are left: "
                "raise VOXRAGA_MODELS_MEMORY_BYTES, or the container's memory limit"
            )
        else:
            return
        raise Unavailable(f"the model {stored.name!r} can't be loaded: {problem}", code="model_too_large")

    async def _unload(self, model: Model, reason: str) -> None:
        """Out of the list at once, out of the memory a moment later."""
        if self._loaded.get(model.name) is model:
            del self._loaded[model.name]
        self._retired.pop(model, None)
        if model.idle:
            model.idle.cancel()
        self._metrics.model_evictions.labels(reason).inc()
        log.info("model unloaded", model=model.name, reason=reason)
        await asyncio.get_running_loop().run_in_executor(self._loader, _close, model)
        self._changed.set()


def _used(model: Model) -> Model:
    model.users += 1
    model.last_used = time.time()
    if model.idle:
        model.idle.cancel()
    return model


def _open(open_model: Callable[[Stored], Model], stored: Stored) -> Model:
    """In the loader's thread. What others can write to is looked at again: every file against its hash."""
    manifest.verify(stored.path)
    model = open_model(stored)
    memory.give_back()  # the checkpoint's copy of the weights
    return model


def _close(model: Model) -> None:
    model.engine.close()
    memory.give_back()


def _failed(stored: Stored, error: Exception) -> Unavailable:
    known = error.message if isinstance(error, StartupError | StoreError) else f"{type(error).__name__}: {error}"
    log.error("a model could not be loaded", model=stored.name, error=known)
    message = f"the model {stored.name!r} could not be loaded: {known}"
    return Unavailable(message, code="model_load_failed", retry_after=RETRY_AFTER_FAILURE)


def _read_one(uploads: Uploads, name: str, known: Stored | None) -> Stored | None:
    """A model of the folder; None where there is none (any more). What is `known` and the same isn't read again."""
    path = uploads.find(name)
    with contextlib.suppress(StartupError, FileNotFoundError):
        if path is not None:
            same = known is not None and known.identity == (path, stores.created(path))
            return known if same else stores.read(name, path)
    return None


def _read_all(uploads: Uploads) -> list[Stored]:
    found = []
    for name, path in uploads.models().items():
        with contextlib.suppress(StartupError, OSError):  # deleted in this moment, or damaged
            found.append(stores.read(name, path))
    return found
