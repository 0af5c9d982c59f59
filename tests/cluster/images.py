"""Build our images from the repository's Dockerfiles, the heavy half of each only when what goes into it changes.

A Dockerfile is built in two parts, at its stage `code`. What comes before it (Debian, libraries, torch) is an image of
its own, named after a hash of everything it is made from; on top of it only our code is copied, which takes a second.
"""

import hashlib
import tomllib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.cluster import engines, paths
from tests.cluster.engines import Build, Engine
from tests.cluster.progress import step

_CUT = "FROM dependencies AS code\n"


@dataclass(frozen=True)
class Image:
    name: str
    extra: str  # the project's extra that is installed in it
    inputs: tuple[str, ...] = ()  # further files that its libraries are made with

    @property
    def tag(self) -> str:
        return f"localhost/voxraga/{self.name}:dev"

    def dockerfile(self) -> tuple[str, str]:
        """What makes the dependencies, and what puts the code on top."""
        text = (paths.REPOSITORY / f"Dockerfile.{self.name}").read_text()
        head, cut, tail = text.partition(_CUT)
        if not cut:
            raise ValueError(f"Dockerfile.{self.name} has no line {_CUT!r}")
        return head, cut + tail


OPERATOR = Image("operator", "operator")
RUNTIME_CPU = Image("runtime-cpu", "runtime", ("images/without_cuda.py",))
RUNTIME_GPU = Image("runtime-gpu", "runtime")
IMAGES = {image.name: image for image in (OPERATOR, RUNTIME_CPU, RUNTIME_GPU)}
USUAL = (OPERATOR.name, RUNTIME_CPU.name)


def build(names: Collection[str] = USUAL) -> list[str]:
    """Build images side by side; their tags."""
    engine = engines.find()
    base = engine.base()
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda name: _build(engine, IMAGES[name], base), names))


def _build(engine: Engine, image: Image, base: str | None) -> str:
    head, tail = image.dockerfile()
    dependencies = f"localhost/voxraga/{image.name}-dependencies:{key(image, base)}"
    if not engine.exists(dependencies):
        with step(f"libraries of {image.name}"):
            arguments = {"BASE": base} if base else {}
            engine.build(Build(dependencies, head, arguments, target="dependencies"))
    with step(f"image {image.name}"):
        engine.build(Build(image.tag, tail.replace("FROM dependencies", f"FROM {dependencies}"), {}))
    return image.tag


def key(image: Image, base: str | None) -> str:
    """A hash of everything that an image's dependencies are made from."""
    lock = (paths.REPOSITORY / "uv.lock").read_text()
    parts = [image.dockerfile()[0], str(base), *locked(lock, image.extra)]
    parts += [(paths.REPOSITORY / name).read_text() for name in image.inputs]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def locked(lock: str, extra: str) -> list[str]:
    """What the lock pins for an extra, as sorted `name==version`: a change for the developers' tools is none here."""
    packages: dict[str, list[dict[str, object]]] = {}
    for package in tomllib.loads(lock)["package"]:
        packages.setdefault(package["name"], []).append(package)
    found: set[str] = set()
    todo = _names(packages["voxraga"][0], extra)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            for package in packages.get(name, []):
                todo |= _names(package)
    return sorted(f"{name}=={package['version']}" for name in found for package in packages.get(name, []))


def _names(package: dict[str, object], extra: str | None = None) -> set[str]:
    """The names that a package of the lock depends on; with all of its extras where none is named."""
    names = {entry["name"] for entry in _entries(package.get("dependencies"))}
    optional = package.get("optional-dependencies")
    for key, entries in optional.items() if isinstance(optional, dict) else ():
        if extra in (None, key):
            names |= {entry["name"] for entry in _entries(entries)}
    return names


def _entries(value: object) -> list[dict[str, str]]:
    return value if isinstance(value, list) else []
