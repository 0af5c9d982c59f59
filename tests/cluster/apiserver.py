"""The command lines of etcd, the API server and the controller manager, shared by both tiers, and waiting for them."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import binaries
from tests.cluster.pki import Pki

Command = list[str | Path]

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Plane:
    """Where one control plane lives and listens."""

    directory: Path
    pki: Pki
    port: int
    etcd_port: int
    etcd_peer_port: int
    bind: str = "127.0.0.1"
    advertise: str = "127.0.0.1"

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    def log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"


def etcd(plane: Plane) -> Command:
    client = f"http://127.0.0.1:{plane.etcd_port}"
    peer = f"http://127.0.0.1:{plane.etcd_peer_port}"
    return [
        binaries.path("etcd"),
        f"--data-dir={plane.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # thrown away in the end; a sync costs more than anything else here
        "--log-level=warn",
    ]


def apiserver(plane: Plane, extra: list[str] | None = None) -> Command:
    pki = plane.pki
    policy = plane.directory / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(_AUDIT_POLICY))
    return [
        binaries.path("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{plane.etcd_port}",
        f"--secure-port={plane.port}",
        f"--bind-address={plane.bind}",
        f"--advertise-address={plane.advertise}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--client-ca-file={pki.ca}",
        f"--tls-cert-file={pki.crt('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.sa_pub}",
        f"--service-account-signing-key-file={pki.sa_key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={plane.audit_log}",
        *(extra or []),
    ]


def controller_manager(plane: Plane, *, ports: bool) -> Command:
    """`ports`: whether it may have its usual port, which it may where it has a network of its own."""
    pki = plane.pki
    config = pki.directory / "controller-manager.kubeconfig"
    return [
        binaries.path("kube-controller-manager"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--service-account-private-key-file={pki.sa_key}",
        f"--root-ca-file={pki.ca}",
        f"--cluster-signing-cert-file={pki.ca}",
        f"--cluster-signing-key-file={pki.ca_key}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--horizontal-pod-autoscaler-sync-period=5s",
        *([] if ports else ["--secure-port=0"]),
    ]


def scheduler(plane: Plane, *, ports: bool) -> Command:
    config = plane.pki.directory / "scheduler.kubeconfig"
    return [
        binaries.path("kube-scheduler"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
        *([] if ports else ["--secure-port=0"]),
    ]


def certificates(plane: Plane, hosts: tuple[str, ...] = ()) -> None:
    """The authority, the API server's certificate and the kubeconfigs of its own clients."""
    pki = plane.pki
    pki.create()
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", "10.96.0.1")
    pki.certificate("apiserver", user="kube-apiserver", hosts=(*names, *hosts))
    pki.certificate("admin", user="admin", group="system:masters")
    server = f"https://127.0.0.1:{plane.port}"
    for name in ("controller-manager", "scheduler"):
        pki.certificate(name, user=f"system:kube-{name}")
        pki.kubeconfig(name, server)


def wait_until(what: str, ready: Callable[[], bool], *, seconds: float, every: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not ready after {seconds:.0f} s")
        time.sleep(every)


class Client:
    """The few requests that starting a cluster needs; everything else is kubectl's."""

    def __init__(self, pki: Pki, url: str) -> None:
        self.url = url
        self._tls = ssl.create_default_context(cafile=str(pki.ca))
        self._tls.load_cert_chain(pki.crt("admin"), pki.key("admin"))
        # Never through a proxy of the environment: it is this machine's own address.
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        ).open

    def text(self, path: str) -> str:
        with self._open(self.url + path, timeout=5) as response:
            return str(response.read().decode())

    def json(self, path: str) -> dict[str, object]:
        value = json.loads(self.text(path))
        assert isinstance(value, dict)
        return value

    def ready(self) -> bool:
        """Serving, and the first namespaces are there: before that a test's create fails."""
        try:
            self.text("/readyz")
            self.text("/api/v1/namespaces/default")
        except (urllib.error.URLError, OSError):
            return False
        return True
