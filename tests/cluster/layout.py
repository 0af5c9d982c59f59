"""Where a node cluster keeps what, and what its things in the kernel are called: all from its state directory."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import paths
from tests.cluster.apiserver import Plane
from tests.cluster.containerd import Containerd
from tests.cluster.network import NODE, Network
from tests.cluster.pki import Pki
from tests.cluster.processes import Table

NAME = "node1"
API_PORT = 6443
REGISTRY_PORT = 5000


@dataclass(frozen=True)
class Layout:
    directory: Path

    @property
    def label(self) -> str:
        """The name of its network namespace and cgroup: the same for the same directory, so that `down` finds them."""
        return f"voxraga-{hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]}"

    @property
    def network(self) -> Network:
        return Network(self.label)

    @property
    def plane(self) -> Plane:
        return Plane(self.directory, Pki(self.directory / "pki"), API_PORT, 2379, 2380, bind="0.0.0.0", advertise=NODE)

    @property
    def table(self) -> Table:
        return Table(self.directory / "processes.jsonl")

    @property
    def image_root(self) -> Path:
        """containerd's root: kept after `down`. One for each directory, since containerd locks it."""
        return paths.cache() / "containerd" / self.label

    @property
    def containerd(self) -> Containerd:
        return Containerd(self.directory / "containerd.sock", self.image_root)

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def ready_file(self) -> Path:
        """Written last: without it an `up` has not come to its end, and is done over."""
        return self.directory / "ready.json"

    @property
    def volumes(self) -> Path:
        return self.directory / "volumes"
