"""Which model a name means, and which ones are in memory: loads, evictions, replacements, and what goes wrong."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.runtime.server.brought import publish
from tests.runtime.server.engine import ToneEngine
from voxraga_runtime.common.errors import ClientGone, NotFound, Overloaded, StartupError, Unavailable
from voxraga_runtime.common.metrics import ServerMetrics
from voxraga_runtime.common.settings import load_settings
from voxraga_runtime.server.models import stored as stores
from voxraga_runtime.server.models.model import Model, prepare, settings_for
from voxraga_runtime.server.models.registry import Registry
from voxraga_runtime.server.models.stored import Stored
from voxraga_runtime.store.uploads import Uploads

SIZE = 500  # bytes of each model's file, and of each loaded engine


class Shelf:
    """A registry over a folder of models that are tones; `loads` tells what was loaded, in order."""

    def __init__(self, path: Path, **settings: Any) -> None:
        values: dict[str, Any] = {"model_name": "narrator", "model_path": path, "uploads_path": path, **settings}
        self.settings = load_settings(**values)
        self.uploads = Uploads(path)
        self.uploads.prepare()
        self.metrics = ServerMetrics()
        self.loads: list[str] = []
        self.engines: list[ToneEngine] = []
        self.free = threading.Event()  # cleared: loads wait
        self.free.set()
        self.broken: list[Exception] = []  # the next loads fail with these
        self.registry = Registry(self.settings, self.metrics, self.uploads, self._open, lambda: None)
        self.registry.start(self._made(stores.read("narrator", path)))

    def add(self, *names: str, content: bytes = bytes(SIZE), replace: bool = False) -> None:
        for name in names:
            publish(self.uploads, name, {"model.pth": content}, replace=replace)

    def _open(self, stored: Stored) -> Model:
        self.loads.append(stored.name)
        assert self.free.wait(10)
        if self.broken:
            raise self.broken.pop()
        return self._made(stored)

    def _made(self, stored: Stored) -> Model:
        engine = ToneEngine()
        engine.memory = SIZE
        self.engines.append(engine)
        return prepare(settings_for(self.settings, stored), engine, stored)

    async def use(self, name: str | None) -> Model:
        """Take a model and give it back."""
        model = await self.registry.take(name, asyncio.Event())
        self.registry.give_back(model)
        return model

    def loaded(self) -> list[str]:
        return sorted(model.name for model in self.registry._held())

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"voxraga_{name}", labels) or 0


@pytest_asyncio.fixture
async def shelf(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    settings = request.param if hasattr(request, "param") else {}
    made = Shelf(tmp_path, **{"queue_timeout": 10, **settings})
    yield made
    made.free.set()
    made.registry.close()


def with_settings(**settings: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shelf", [settings], indirect=True)


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def refused(shelf: Shelf, name: str) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await shelf.use(name)
    return caught.value


@pytest.mark.parametrize("name", [None, "", "narrator", "tts-1", "gpt-4o-mini-tts"])
async def test_the_own_model_has_many_names(shelf: Shelf, name: str | None) -> None:
    assert (await shelf.use(name)) is shelf.registry.own


@pytest.mark.parametrize("name", ["nobody", "../narrator", "a/b", "mine@1", ".", "x" * 300])
async def test_what_is_not_in_the_folder_does_not_exist(shelf: Shelf, name: str) -> None:
    shelf.add("mine")
    with pytest.raises(NotFound, match="does not exist; this server has 'narrator'"):
        await shelf.use(name)
    assert shelf.loads == []


async def test_many_who_want_it_wait_for_one_load(shelf: Shelf) -> None:
    shelf.add("mine")
    shelf.free.clear()
    asked = [asyncio.create_task(shelf.use("mine")) for _ in range(8)]
    await until(lambda: shelf.loads)
    shelf.free.set()
    assert len({id(model) for model in await asyncio.gather(*asked)}) == 1
    assert shelf.loads == ["mine"]
    assert shelf.count("model_loads_total", outcome="loaded") == 1
    assert shelf.count("models_loaded") == 2
    assert shelf.count("model_memory_bytes") == 2 * SIZE


@with_settings(queue_timeout=0.05)
async def test_who_waits_too_long_for_a_load_is_told_to_come_again(shelf: Shelf) -> None:
    shelf.add("mine")
    shelf.free.clear()
    error = await refused(shelf, "mine")
    assert (error.code, error.retry_after) == ("loading", 5)
    shelf.free.set()
    await until(lambda: "mine" in shelf.loaded())  # the load went on


async def test_who_leaves_does_not_wait(shelf: Shelf) -> None:
    shelf.add("mine")
    shelf.free.clear()
    gone = asyncio.Event()
    asked = asyncio.create_task(shelf.registry.take("mine", gone))
    await until(lambda: shelf.loads)
    gone.set()
    with pytest.raises(ClientGone):
        await asked


async def test_the_one_used_longest_ago_makes_room(shelf: Shelf) -> None:
    shelf.add("a", "b", "c")
    for name in ("a", "b", "a", "c"):
        await shelf.use(name)
    assert shelf.loaded() == ["a", "c", "narrator"]
    assert shelf.count("model_evictions_total", reason="count") == 1
    assert [engine.closed for engine in shelf.engines] == [False, False, True, False]  # the own one, a, b, c


@with_settings(models_max_loaded=10, models_memory_bytes=3 * SIZE)
async def test_memory_makes_room_too(shelf: Shelf) -> None:
    shelf.add("a", "b", "c")
    for name in ("a", "b", "c"):
        await shelf.use(name)
    assert shelf.loaded() == ["b", "c", "narrator"]
    assert shelf.count("model_evictions_total", reason="memory") == 1


@with_settings(models_memory_bytes=3 * SIZE)
async def test_a_model_that_can_never_fit_is_refused_at_once_and_evicts_nobody(shelf: Shelf) -> None:
    shelf.add("a")
    shelf.add("huge", content=bytes(4 * SIZE))
    await shelf.use("a")
    error = await refused(shelf, "huge")
    assert error.code == "model_too_large"
    assert "VOXRAGA_MODELS_MEMORY_BYTES" in error.message
    assert shelf.loaded() == ["a", "narrator"]


@with_settings(models_max_loaded=2)
async def test_a_model_that_speaks_is_never_evicted(shelf: Shelf) -> None:
    shelf.add("a", "b")
    speaking = await shelf.registry.take("a", asyncio.Event())
    wanting = asyncio.create_task(shelf.use("b"))
    await until(shelf.registry._turn.locked)
    assert (shelf.loaded(), shelf.loads) == (["a", "narrator"], ["a"])
    shelf.registry.give_back(speaking)
    await wanting
    assert shelf.loaded() == ["b", "narrator"]


@with_settings(models_max_loaded=2)
async def test_two_that_share_one_place_take_turns(shelf: Shelf) -> None:
    """Whoever waited for a load uses it before it makes room for the next one."""
    shelf.add("a", "b")
    used = await asyncio.gather(*(shelf.use(name) for name in "abababab"))
    assert [model.name for model in used] == list("abababab")
    assert sorted(shelf.loads) == ["a", "b"]


@with_settings(models_memory_bytes=3 * SIZE + SIZE // 2, models_max_loaded=10)
async def test_a_model_that_holds_more_than_its_files_makes_room_afterwards(shelf: Shelf) -> None:
    shelf.add("a", "b")
    shelf.add("c", content=b"x")
    for name in ("a", "b"):
        await shelf.use(name)
    shelf.registry.own.engine.memory = 2 * SIZE  # type: ignore[union-attr,misc]
    await shelf.use("c")
    assert shelf.loaded() == ["c", "narrator"]


@with_settings(queue_depth=2)
async def test_only_so_many_wait(shelf: Shelf) -> None:
    shelf.add("a")
    shelf.free.clear()
    asked = [asyncio.create_task(shelf.use("a")) for _ in range(3)]
    await until(lambda: shelf.loads)
    with pytest.raises(Overloaded):
        await shelf.use("a")
    shelf.free.set()
    await asyncio.gather(*asked)


@with_settings(models_max_loaded=2)
async def test_no_room_in_time_is_an_answer(shelf: Shelf) -> None:
    shelf.add("a", "b")
    await shelf.registry.take("a", asyncio.Event())
    shelf.registry._settings = shelf.settings.model_copy(update={"queue_timeout": 0.05})
    assert (await refused(shelf, "b")).code in {"models_busy", "loading"}  # whose time is over first
    assert (await shelf.use(None)) is shelf.registry.own


@with_settings(models_max_loaded=1)
async def test_no_place_but_the_own_models(shelf: Shelf) -> None:
    shelf.add("a")
    assert "VOXRAGA_MODELS_MAX_LOADED is 1" in (await refused(shelf, "a")).message


async def test_a_load_that_fails_says_why_and_harms_nobody(shelf: Shelf) -> None:
    shelf.add("a", "b")
    await shelf.use("a")
    shelf.broken = [StartupError("WarmupFailed", "the sound is silent")]
    error = await refused(shelf, "b")
    assert (error.code, error.retry_after) == ("model_load_failed", 30)
    assert error.message == "the model 'b' could not be loaded: the sound is silent"
    assert shelf.count("model_loads_total", outcome="failed") == 1
    assert shelf.loaded() == ["a", "narrator"]
    assert (await shelf.use("b")).name == "b"


async def test_files_are_looked_at_again_before_a_load(shelf: Shelf) -> None:
    shelf.add("a")
    (shelf.uploads.models()["a"] / "files" / "model.pth").write_bytes(b"x" * SIZE)
    assert "model.pth is" in (await refused(shelf, "a")).message
    assert shelf.loads == []


async def test_a_replaced_model_is_noticed(shelf: Shelf) -> None:
    shelf.add("a")
    speaking = await shelf.registry.take("a", asyncio.Event())
    shelf.add("a", content=bytes(SIZE + 1), replace=True)
    assert (await shelf.use("a")).stored.bytes == SIZE + 1
    assert not shelf.engines[1].closed  # it is still spoken with
    shelf.registry.give_back(speaking)
    await until(lambda: shelf.engines[1].closed)
    assert shelf.count("model_evictions_total", reason="replaced") == 1
    assert shelf.loaded() == ["a", "narrator"]


async def test_a_model_replaced_while_it_is_loaded_is_loaded_anew(shelf: Shelf) -> None:
    shelf.add("a")
    shelf.free.clear()
    asked = asyncio.create_task(shelf.use("a"))
    await until(lambda: shelf.loads)
    shelf.add("a", content=bytes(SIZE + 1), replace=True)
    shelf.broken = [StartupError("ModelMissing", "the files are gone")]
    shelf.free.set()
    assert (await asked).stored.bytes == SIZE + 1
    assert shelf.loads == ["a", "a"]


async def test_another_model_of_the_same_name_and_version_is_noticed(shelf: Shelf) -> None:
    shelf.add("a")
    await shelf.use("a")
    shelf.uploads.remove("a")
    shelf.add("a", content=bytes(SIZE + 1))
    assert (await shelf.use("a")).stored.bytes == SIZE + 1


async def test_a_deleted_model_is_noticed(shelf: Shelf) -> None:
    shelf.add("a")
    await shelf.use("a")
    assert shelf.uploads.remove("a")
    with pytest.raises(NotFound):
        await shelf.use("a")
    await until(lambda: shelf.engines[1].closed)
    assert shelf.count("model_evictions_total", reason="deleted") == 1


async def test_a_folder_that_cannot_be_read_is_told_apart_from_a_deleted_model(shelf: Shelf) -> None:
    shelf.add("a")
    await shelf.use("a")
    (shelf.uploads.path / "models").rename(shelf.uploads.path / "away")
    assert (await refused(shelf, "a")).code == "uploads_unreadable"
    assert await shelf.registry.stored() == []
    (shelf.uploads.path / "away").rename(shelf.uploads.path / "models")
    assert (await shelf.use("a")).stored.name == "a"
    assert shelf.loads == ["a"]


@with_settings(models_idle_timeout=0.05)
async def test_who_is_idle_is_unloaded(shelf: Shelf) -> None:
    shelf.add("a", "b")
    speaking = await shelf.registry.take("a", asyncio.Event())
    await shelf.use("b")
    await until(lambda: shelf.loaded() == ["a", "narrator"])
    assert shelf.count("model_evictions_total", reason="idle") == 1
    shelf.registry.give_back(speaking)
    await until(lambda: shelf.loaded() == ["narrator"])


async def test_preloaded_models_are_there_at_once(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    publish(uploads, "a", {"model.pth": bytes(SIZE)})
    shelf = Shelf(tmp_path, models_preload=["nobody", "a"])
    await until(lambda: shelf.loaded() == ["a", "narrator"])
    shelf.registry.close()
