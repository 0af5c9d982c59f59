"""The node's own network namespace: interfaces, routes and rules that are gone when it is deleted."""

import subprocess
from pathlib import Path

NODE = "10.90.0.1"
GATEWAY = "10.90.0.254"  # nobody: without a default route the services' addresses would be unroutable from the node
PODS = "10.244.0.0/16"
NODE_PODS = "10.244.0.0/24"
DNS = "10.96.0.10"
_FOLDER = Path("/run/netns")


class Network:
    def __init__(self, name: str) -> None:
        self.name = name
        self.file = _FOLDER / name
        # Not `ip netns exec`: that remounts /sys, and the kubelet finds no cgroups then.
        self.enter = ["nsenter", f"--net={self.file}"]

    def exists(self) -> bool:
        return self.file.exists()

    def create(self) -> None:
        _run("ip", "netns", "add", self.name)
        self._inside("ip", "link", "set", "lo", "up")
        # There is no `dummy` device everywhere; a bridge without ports carries an address as well.
        self._inside("ip", "link", "add", "node0", "type", "bridge")
        self._inside("ip", "addr", "add", f"{NODE}/24", "dev", "node0")
        self._inside("ip", "link", "set", "node0", "up")
        self._inside("ip", "route", "add", "default", "via", GATEWAY, "dev", "node0")
        self._inside("sysctl", "-qw", "net.ipv4.ip_forward=1")
        # Bridged packets must pass the services' rules, where the kernel has the choice at all.
        self._inside("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1", check=False)

    def delete(self) -> None:
        if self.exists():
            _run("ip", "netns", "delete", self.name)

    def pids(self) -> list[int]:
        """The processes inside, whoever started them."""
        if not self.exists():
            return []
        return [int(pid) for pid in _run("ip", "netns", "pids", self.name, check=False).split()]

    def _inside(self, *command: str, check: bool = True) -> None:
        _run(*self.enter, *command, check=check)


def _run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
