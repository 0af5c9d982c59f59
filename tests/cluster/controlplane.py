"""The `controlplane` tier: etcd, API server and controllers on loopback, without root and without containers.

    with tests.cluster.controlplane.start() as plane:
        plane.kubectl("get", "namespaces")

Several may run at once. Nothing runs pods; everything else of the API is real.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import ports
from tests.cluster import apiserver, binaries, processes
from tests.cluster.apiserver import Client, Plane
from tests.cluster.kubectl import Kubectl
from tests.cluster.pki import Pki
from tests.cluster.processes import Process, Table

_TRIES = 3  # a port that was free a moment ago may be taken; then others are tried


@dataclass(frozen=True)
class ControlPlane:
    directory: Path
    url: str
    kubeconfig: Path
    audit_log: Path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl; its output, or an error that says what it said."""
        return Kubectl(self.kubeconfig)(*arguments, stdin=stdin)


@contextmanager
def start(*, scheduler: bool = False) -> Iterator[ControlPlane]:
    """A control plane for the time of a `with`; it ends with this process, whatever ends that."""
    binaries.ensure(tool for tool in binaries.CONTROLPLANE if scheduler or tool != "kube-scheduler")
    directory = Path(tempfile.mkdtemp(prefix="voxraga-controlplane-"))
    try:
        yield launch(directory, scheduler=scheduler, tied=True)
    finally:
        processes.end(processes.marked(directory))
        shutil.rmtree(directory, ignore_errors=True)


def launch(directory: Path, *, scheduler: bool = False, tied: bool = False) -> ControlPlane:
    """Start a control plane in a directory. `tied`: the kernel ends it together with the process that started it."""
    for attempt in range(1, _TRIES + 1):
        try:
            return _launch(directory, scheduler=scheduler, tied=tied)
        except RuntimeError:
            processes.end(processes.marked(directory))
            if attempt == _TRIES:
                raise
            shutil.rmtree(directory / "etcd", ignore_errors=True)
    raise AssertionError


def _launch(directory: Path, *, scheduler: bool, tied: bool) -> ControlPlane:
    port, etcd_port, peer_port = ports.free(3)
    plane = Plane(directory, Pki(directory / "pki"), port, etcd_port, peer_port)
    apiserver.certificates(plane)
    url = f"https://127.0.0.1:{port}"
    kubeconfig = plane.pki.kubeconfig("admin", url, to=directory / "kubeconfig")
    table = Table(directory / "processes.jsonl")

    def run(name: str, command: apiserver.Command) -> Process:
        prefix = ["setpriv", "--pdeathsig", "KILL"] if tied and shutil.which("setpriv") else []
        return table.start(name, command, log=plane.log(name), mark=directory, prefix=prefix)

    needed = [run("etcd", apiserver.etcd(plane)), run("kube-apiserver", apiserver.apiserver(plane))]
    client = Client(plane.pki, url)
    apiserver.wait_until("API server", lambda: _up(plane, needed) and client.ready(), seconds=120)
    run("kube-controller-manager", apiserver.controller_manager(plane, ports=False))
    if scheduler:
        run("kube-scheduler", apiserver.scheduler(plane, ports=False))
    return ControlPlane(directory, url, kubeconfig, plane.audit_log)


def _up(plane: Plane, needed: list[Process]) -> bool:
    """Fails at once, with the last lines of the log, when a process that must run has ended."""
    for process in needed:
        if not processes.alive(process):
            lines = plane.log(process.name).read_text(errors="replace").splitlines()[-15:]
            raise RuntimeError(f"{process.name} ended:\n" + "\n".join(lines))
    return True


def stop(directory: Path) -> None:
    """End what `launch` started."""
    processes.end(processes.marked(directory))
    shutil.rmtree(directory, ignore_errors=True)
