"""The two programs that build images from Dockerfiles: docker where its engine answers, else buildah."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.cluster import paths, prerequisites
from tests.cluster.progress import step

_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PASSED_ON = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")  # a company's own index
SUITE = "bookworm"


@dataclass(frozen=True)
class Build:
    """One image to build: a Dockerfile (a text, since parts of files are built too), its name, and how."""

    image: str
    dockerfile: str
    arguments: Mapping[str, str]
    target: str | None = None
    context: Path = paths.REPOSITORY


class Engine(Protocol):
    name: str

    def exists(self, image: str) -> bool: ...

    def build(self, build: Build) -> None: ...

    def base(self) -> str | None:
        """The base image to build on; None for the one that the Dockerfiles name."""


class Docker:
    name = "docker"

    def exists(self, image: str) -> bool:
        return _runs("docker", "image", "inspect", image)

    def build(self, build: Build) -> None:
        _run(["docker", "build", "--progress", "plain", *_options(build)], build)

    def base(self) -> str | None:
        return os.environ.get("VOXRAGA_BASE")


class Buildah:
    name = "buildah"

    def exists(self, image: str) -> bool:
        return _runs("buildah", "inspect", "--type", "image", image)

    def build(self, build: Build) -> None:
        # chroot: needs no more than root; runc is named because crun need not be there.
        how = ["--layers", "--isolation", "chroot", "--runtime", "runc"]
        _run(["buildah", "build", *how, *_options(build)], build)

    def base(self) -> str | None:
        """A Debian made on the spot, so that no image registry is needed."""
        if given := os.environ.get("VOXRAGA_BASE"):
            return given
        image = f"localhost/voxraga/base:{SUITE}"
        if self.exists(image):
            return image
        if not shutil.which("mmdebstrap"):
            return None
        with step(f"base image (Debian {SUITE})"):
            _debootstrap(self, image)
        return image


def find() -> Engine:
    return Docker() if prerequisites.docker() else Buildah()


def ca_bundle() -> Path | None:
    """The certificates that this machine trusts: behind a proxy that inspects TLS, the build must trust them too."""
    candidates = [Path(name) for name in (os.environ.get("SSL_CERT_FILE"), str(_BUNDLE)) if name]
    return next((file for file in candidates if file.is_file()), None)


def _options(build: Build) -> list[str]:
    arguments = {**build.arguments, **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}
    options = ["--network", "host", "--tag", build.image, "--file", "-"]
    options += [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    if build.target:
        options += ["--target", build.target]
    if bundle := ca_bundle():
        options += ["--secret", f"id=ca,src={bundle}"]  # never part of a layer, nor of a layer's key
    return [*options, str(build.context)]


def _run(command: list[str], build: Build) -> None:
    done = subprocess.run(
        command, input=build.dockerfile, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    log = paths.cache() / "log" / f"build-{build.image.rpartition('/')[2].replace(':', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout)
    if done.returncode:
        raise RuntimeError(f"{command[0]} build of {build.image} failed (all of it: {log}):\n{done.stdout[-3000:]}")


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _debootstrap(engine: Buildah, image: str) -> None:
    folder = paths.cache() / "base"
    folder.mkdir(parents=True, exist_ok=True)
    sources = folder / "debian.sources"
    sources.write_text(debian_sources(_apt_files()))
    mirror = [str(sources)] if sources.stat().st_size else []
    command = ["mmdebstrap", "--quiet", "--variant=minbase", SUITE, str(folder / "root.tar"), *mirror]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mmdebstrap: {done.stderr[-2000:]}")
    engine.build(Build(image, "FROM scratch\nADD root.tar /\n", {}, context=folder))
    (folder / "root.tar").unlink()


def _apt_files() -> list[str]:
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    return [file.read_text() for file in files if file.is_file() and file.suffix in (".list", ".sources")]


def debian_sources(texts: list[str]) -> str:
    """Of a machine's apt sources those of this Debian (a mirror near it, perhaps), in the form they are found in."""
    suites = {SUITE, f"{SUITE}-updates", f"{SUITE}-security"}
    kept = []
    for text in texts:
        if "URIs:" in text:
            kept += [stanza for stanza in text.split("\n\n") if _suites(stanza) and _suites(stanza) <= suites]
    if kept:
        return "\n\n".join(stanza.strip() for stanza in kept) + "\n"
    lines = [line for text in texts for line in text.splitlines() if line.startswith("deb ")]
    return "".join(f"{line}\n" for line in lines if suites & set(line.split()))


def _suites(stanza: str) -> set[str]:
    return {suite for line in stanza.splitlines() if line.startswith("Suites:") for suite in line.split()[1:]}
