"""Build Kubernetes and what belongs to it from the Go modules in modules/, once, into the cache.

The folders hold a go.mod with `tool` lines and its go.sum: the versions and checksums of everything that is built.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import golang, paths
from tests.cluster.progress import step

_KUBERNETES = "v1.36.3"
_MAJOR, _MINOR = _KUBERNETES.removeprefix("v").split(".")[:2]


@dataclass(frozen=True)
class Module:
    """A folder of modules/: its tools (name of the binary, its package) and what the linker is to set."""

    name: str
    tools: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return paths.HERE / "modules" / self.name

    @property
    def ldflags(self) -> str:
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables.items())])

    def hash(self) -> str:
        """What the binaries are made from; another hash is another folder in the cache."""
        digest = hashlib.sha256(f"{platform.machine()} {self.ldflags}\n".encode())
        for file in ("go.mod", "go.sum"):
            digest.update((self.folder / file).read_bytes())
        return digest.hexdigest()[:16]

    def output(self) -> Path:
        return paths.cache() / "bin" / f"{self.name}-{self.hash()}"


MODULES = (
    Module(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kubectl",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
            )
        },
        {
            "k8s.io/component-base/version.gitVersion": _KUBERNETES,
            "k8s.io/component-base/version.gitMajor": _MAJOR,
            "k8s.io/component-base/version.gitMinor": _MINOR,
            "k8s.io/client-go/pkg/version.gitVersion": _KUBERNETES,
        },
    ),
    Module("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(
        "containerd",
        {
            name: f"github.com/containerd/containerd/v2/cmd/{name}"
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
        {"github.com/containerd/containerd/v2/version.Version": "v2.4.2"},
    ),
    Module("coredns", {"coredns": "github.com/coredns/coredns"}),
    Module(
        "metrics-server",
        {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
        {"k8s.io/client-go/pkg/version.gitVersion": "v0.9.0"},
    ),
    Module(
        "local-path-provisioner",
        {"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
        {"main.VERSION": "v0.0.30"},
    ),
    Module(
        "registry",
        {"registry": "github.com/distribution/distribution/v3/cmd/registry"},
        {"github.com/distribution/distribution/v3/version.version": "v3.1.2"},
    ),
)

CONTROLPLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
NODE = (
    *CONTROLPLANE,
    "kubelet",
    "kube-proxy",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "coredns",
    "local-path-provisioner",
    "registry",
)


def module_of(tool: str) -> Module:
    return next(module for module in MODULES if tool in module.tools)


def path(tool: str) -> Path:
    return module_of(tool).output() / tool


def missing(tools: Iterable[str]) -> list[str]:
    return [tool for tool in tools if not path(tool).exists()]


def ensure(tools: Iterable[str]) -> None:
    """Build what is not in the cache: two modules at a time, so that one downloads while the other compiles."""
    wanted = missing(tools)
    modules = [module for module in MODULES if set(module.tools) & set(wanted)]
    if not modules:
        return
    go = golang.find()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for result in [pool.submit(_build, go, module, wanted) for module in modules]:
            result.result()


def _build(go: Path, module: Module, wanted: Iterable[str]) -> None:
    output = module.output()
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output / ".lock"):
        todo = {tool: package for tool, package in module.tools.items() if tool in missing(wanted)}
        if not todo:
            return  # another process built them while we waited
        with step(f"build {module.name} ({', '.join(todo)})"), tempfile.TemporaryDirectory(dir=output) as temporary:
            _go_build(go, module, todo, Path(temporary))
            for tool in todo:
                (Path(temporary) / tool).rename(output / tool)  # complete, or not there


def _go_build(go: Path, module: Module, todo: dict[str, str], output: Path) -> None:
    # A single package may be named as we like; several are named after their packages.
    target = output / next(iter(todo)) if len(todo) == 1 else f"{output}/"
    command = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", module.ldflags, "-o", target, *todo.values()]
    done = subprocess.run(
        [*_nice(), *map(str, command)],
        cwd=module.folder,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"go build of {module.name} failed:\n{done.stdout[-4000:]}")


def _nice() -> list[str]:
    return ["nice", "-n", "5"] if shutil.which("nice") else []


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
