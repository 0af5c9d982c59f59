"""The `node` tier: a whole single-node cluster in a network namespace of its own, as root.

cluster = tests.cluster.node.up()
cluster.kubectl("get", "nodes")
"""

import fcntl
import json
import shutil
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests import ports
from tests.cluster import (
    apiserver,
    binaries,
    cgroups,
    containerd,
    node_config,
    paths,
    prerequisites,
    processes,
    registry,
    system_images,
    teardown,
)
from tests.cluster.apiserver import Client, Command
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.layout import API_PORT, NAME, Layout
from tests.cluster.network import DNS, NODE
from tests.cluster.processes import Process
from tests.cluster.progress import say, step

ADDONS = ("coredns", "storage")
OPTIONAL = ("metrics-server",)


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    layout: Layout
    url: str

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    @property
    def audit_log(self) -> Path:
        return self.layout.plane.audit_log

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Run kubectl; its output, or an error that says what it said."""
        return Kubectl(self.kubeconfig)(*arguments, stdin=stdin, timeout=timeout)


def up(directory: Path | None = None, *, extras: Collection[str] = ()) -> Cluster:
    """The running cluster, or a new one; what is left of one that broke is removed before."""
    layout = Layout(directory or paths.state())
    prerequisites.require("node")
    binaries.ensure((*binaries.NODE, *extras))
    with _locked(layout):
        cluster = running(layout)
        if cluster is None:
            teardown.remove(layout)
            cluster = _start(layout, extras)
        else:
            _apply(cluster, [extra for extra in extras if extra not in _applied(layout)])
    return cluster


def running(layout: Layout) -> Cluster | None:
    """The cluster, when it came up wholly and all of its processes still live and answer."""
    if not layout.ready_file.exists() or not layout.network.exists():
        return None
    every = layout.table.all()
    url = str(json.loads(layout.ready_file.read_text())["url"])
    if not all(processes.alive(process) for process in every) or not Client(layout.plane.pki, url).ready():
        return None
    return Cluster(layout, url)


def current(directory: Path | None = None) -> Cluster:
    """The running cluster; an error that says how to start one where there is none."""
    if cluster := running(Layout(directory or paths.state())):
        return cluster
    raise RuntimeError("no cluster is running: python -m tests.cluster up")


def _start(layout: Layout, extras: Collection[str]) -> Cluster:
    try:
        with step("start the cluster"):
            return _start_all(layout, extras)
    except BaseException:
        say(f"the cluster did not come up; its logs stay in {layout.plane.log('NAME')} until the next `up` or `down`")
        processes.end(teardown.pids(layout))
        raise


def _start_all(layout: Layout, extras: Collection[str]) -> Cluster:
    relay_port = ports.free(1)[0]
    url = f"https://127.0.0.1:{relay_port}"
    _prepare(layout, url)
    _run(layout, "etcd", apiserver.etcd(layout.plane))
    with ThreadPoolExecutor(max_workers=1) as pool:
        images = pool.submit(_start_containerd, layout, extras)
        _run(layout, "kube-apiserver", apiserver.apiserver(layout.plane, node_config.api_flags(layout)))
        _run(layout, "registry", registry.command(layout))
        _run(layout, "relay", _relay(layout, relay_port), inside=False)
        client = Client(layout.plane.pki, url)
        with step("API server"):
            apiserver.wait_until("API server", lambda: _living(layout) and client.ready(), seconds=120)
        _run(layout, "kube-controller-manager", apiserver.controller_manager(layout.plane, ports=True))
        _run(layout, "kube-scheduler", apiserver.scheduler(layout.plane, ports=True))
        images.result()
    _run(layout, "kubelet", node_config.kubelet(layout))
    _run(layout, "kube-proxy", node_config.kube_proxy(layout))
    cluster = Cluster(layout, url)
    with step("node ready"):
        apiserver.wait_until("node", lambda: _living(layout) and _node_ready(cluster), seconds=90, every=0.3)
    with step("add-ons"):
        _apply(cluster, [*ADDONS, *extras])
    layout.ready_file.write_text(json.dumps({"url": url, "extras": list(extras)}))
    return cluster


def _prepare(layout: Layout, url: str) -> None:
    directory = layout.directory
    directory.mkdir(parents=True)
    (directory / "log").mkdir()
    layout.volumes.mkdir()
    layout.network.create()
    cgroups.create(layout.label)
    plane = layout.plane
    apiserver.certificates(plane, (NODE,))
    server = f"https://127.0.0.1:{API_PORT}"
    plane.pki.certificate("kubelet", user=f"system:node:{NAME}", group="system:nodes", hosts=(NAME, NODE, "127.0.0.1"))
    plane.pki.certificate("kube-proxy", user="system:kube-proxy")
    plane.pki.certificate("front-proxy", user="front-proxy-client")
    for name in ("kubelet", "kube-proxy"):
        plane.pki.kubeconfig(name, server)
    plane.pki.kubeconfig("admin", url, to=layout.kubeconfig)
    (directory / "cni").mkdir()
    (directory / "cni" / "10-bridge.conflist").write_text(node_config.cni(layout))
    registry.prepare(layout)


def _start_containerd(layout: Layout, extras: Collection[str]) -> None:
    """containerd with the system's images, on a cache without an earlier cluster's containers."""
    try:
        _containerd_once(layout)
        if layout.containerd.forget_containers():
            _containerd_once(layout)  # it keeps in mind what it read at its start
    except (RuntimeError, TimeoutError) as error:
        say(f"the cache of images is unusable and made anew: {error}")
        processes.end([process.pid for process in layout.table.all() if process.name == "containerd"])
        teardown.unmount(layout.image_root)
        shutil.rmtree(layout.image_root, ignore_errors=True)
        _containerd_once(layout)
    with step("system images"):
        system_images.load(layout.containerd, extras)


def _containerd_once(layout: Layout) -> None:
    processes.end([process.pid for process in layout.table.alive() if process.name == "containerd"])
    layout.containerd.socket.unlink(missing_ok=True)
    layout.image_root.mkdir(parents=True, exist_ok=True)
    containerd.forget_records(layout.image_root)
    file = layout.directory / "containerd.toml"
    file.write_text(containerd.config(layout.image_root, layout.directory, layout.containerd.socket))
    binary = binaries.path("containerd")
    process = _run(layout, "containerd", [binary, "--config", file])
    apiserver.wait_until("containerd", lambda: _lives(layout, process) and layout.containerd.ready(), seconds=60)


def _run(layout: Layout, name: str, command: Command, *, inside: bool = True) -> Process:
    tools = binaries.path("containerd").parent  # containerd looks for its shim on PATH
    return layout.table.start(
        name,
        command,
        log=layout.plane.log(name),
        mark=layout.directory,
        prefix=layout.network.enter if inside else (),
        env={"PATH": f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    )


def _relay(layout: Layout, port: int) -> Command:
    return [
        sys.executable, paths.HERE / "relay.py", "--namespace", layout.network.file,
        "--listen", f"127.0.0.1:{port}", "--connect", f"127.0.0.1:{API_PORT}",
    ]  # fmt: skip


def _living(layout: Layout) -> bool:
    return all(_lives(layout, process) for process in layout.table.all() if process.name != "containerd")


def _lives(layout: Layout, process: Process) -> bool:
    """True, or an error with the last lines of its log."""
    if not processes.alive(process):
        lines = layout.plane.log(process.name).read_text(errors="replace").splitlines()[-15:]
        raise RuntimeError(f"{process.name} ended:\n" + "\n".join(lines))
    return True


def _node_ready(cluster: Cluster) -> bool:
    path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
    with suppress(KubectlError):
        return cluster.kubectl("get", "nodes", "-o", path) == "True"
    return False


def _apply(cluster: Cluster, names: Collection[str]) -> None:
    if not names:
        return
    system_images.load(cluster.layout.containerd, names)
    texts = [(paths.HERE / "addons" / f"{name}.yaml").read_text() for name in names]
    text = "\n---\n".join(texts).replace("@VOLUMES@", str(cluster.layout.volumes)).replace("@DNS@", DNS)
    cluster.kubectl("apply", "-f", "-", stdin=text)
    for namespace in ("kube-system", "local-path-storage"):
        cluster.kubectl("-n", namespace, "wait", "deployment", "--all", "--for=condition=Available", "--timeout=120s")


def _applied(layout: Layout) -> list[str]:
    return list(json.loads(layout.ready_file.read_text())["extras"])


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """One `up` or `down` at a time."""
    file = paths.cache() / f"{layout.label}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def down(directory: Path | None = None, *, purge: bool = False) -> None:
    """Remove the cluster and everything of it but the caches; with `purge` its cached images too."""
    layout = Layout(directory or paths.state())
    with _locked(layout):
        teardown.remove(layout)
        if purge:
            shutil.rmtree(layout.image_root, ignore_errors=True)
            shutil.rmtree(registry.data(layout), ignore_errors=True)
