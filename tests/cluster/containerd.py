"""containerd: its configuration, what an earlier cluster left in its cache, and getting images into it.

Its root (images and their unpacked layers) is a cache that outlives clusters, because unpacking costs most of a start.
"""

import shutil
import subprocess
from pathlib import Path

from tests.cluster import binaries

NAMESPACE = "k8s.io"
PAUSE = "localhost/voxraga/pause:dev"


def config(root: Path, directory: Path, socket: Path) -> str:
    """The configuration: containerd's root, the cluster's directory for all the rest."""
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower it, and every sandbox would die.
    # netns_mounts_under_state_dir: pods' network namespaces are then found and removed with everything else.
    return f"""\
version = 3
root = "{root}"
state = "{directory / "containerd"}"
[grpc]
address = "{socket}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "{directory / "registries"}"
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{directory / "cni"}"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


class Containerd:
    """A running containerd, by its command `ctr`."""

    def __init__(self, socket: Path, root: Path) -> None:
        self.socket = socket
        self.root = root

    def ctr(self, *arguments: str, stdin: bytes | None = None) -> str:
        command = [str(binaries.path("ctr")), "--address", str(self.socket), "--namespace", NAMESPACE, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def ready(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            self.ctr("version")
        except RuntimeError:
            return False
        return True

    def images(self) -> dict[str, str]:
        """The images here: name and digest."""
        lines = self.ctr("images", "list").splitlines()[1:]
        return {parts[0]: parts[2] for line in lines if len(parts := line.split()) > 2}

    def blobs(self) -> set[str]:
        return set(self.ctr("content", "list", "--quiet").split())

    def import_tar(self, tar: bytes) -> None:
        self.ctr("images", "import", "--local", "-", stdin=tar)

    def forget_containers(self) -> bool:
        """Remove what an earlier cluster's containers left in the cache; whether there was anything."""
        containers = self.ctr("containers", "list", "--quiet").split()
        if containers:
            self.ctr("containers", "delete", *containers)
        sandboxes = [line.split()[0] for line in self.ctr("sandboxes", "list").splitlines()[1:]]
        for sandbox in sandboxes:
            self.ctr("sandboxes", "remove", "--force", sandbox)
        leases = self.ctr("leases", "list", "--quiet").split()
        if leases:
            self.ctr("leases", "delete", *leases)
        return bool(containers or sandboxes)


def forget_records(root: Path) -> None:
    """The CRI's own notes on containers and sandboxes: read at its start, so removed before it."""
    for folder in root.glob("io.containerd.grpc.v1.cri*"):
        for name in ("containers", "sandboxes"):
            shutil.rmtree(folder / name, ignore_errors=True)
