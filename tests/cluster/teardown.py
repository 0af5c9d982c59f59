"""Remove a node cluster, whatever state it is in: processes, mounts, interfaces, rules, cgroups, files.

Nothing here trusts what an `up` may not have come to write down; every step finds its things by the state directory
or by the label made from it, and is no error when there is nothing.
"""

import shutil
import subprocess
from pathlib import Path

from tests.cluster import cgroups, processes
from tests.cluster.layout import Layout

# Places outside the state directory where the kubelet and CNI leave notes, whatever they are told.
_POD_LOG_LINKS = Path("/var/log/containers")
_CNI_RESULTS = Path("/var/lib/cni/results")


def remove(layout: Layout) -> None:
    processes.end(pids(layout))
    processes.end(pids(layout))  # what the first ones were just starting
    unmount(layout.directory)
    unmount(layout.image_root)
    layout.network.delete()
    cgroups.delete(layout.label)
    _remove_notes(layout)
    if layout.directory.exists():
        shutil.rmtree(layout.directory)


def pids(layout: Layout) -> list[int]:
    """All processes: those marked as the cluster's (shims too), those in its network and in its pods' cgroups."""
    recorded = [process.pid for process in layout.table.alive()]
    marked = processes.marked(layout.directory)
    return sorted({*recorded, *marked, *layout.network.pids(), *cgroups.pids(layout.label)})


def unmount(folder: Path) -> None:
    """Everything mounted at or below a folder, innermost first."""
    for target in reversed(mounts(folder)):
        subprocess.run(["umount", "--lazy", target], capture_output=True, check=False)


def mounts(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    targets = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return sorted(target for target in targets if Path(target).is_relative_to(folder))


def leftovers(layout: Layout) -> list[str]:
    """What of the cluster is still there, in words; empty after `remove`."""
    found = [f"process {pid}" for pid in pids(layout)]
    found += [f"mount {target}" for folder in (layout.directory, layout.image_root) for target in mounts(folder)]
    found += [f"network namespace {layout.label}"] if layout.network.exists() else []
    found += [f"cgroup {layout.label}"] if cgroups.exists(layout.label) else []
    found += [f"directory {layout.directory}"] if layout.directory.exists() else []
    return found


def _remove_notes(layout: Layout) -> None:
    for link in _POD_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(layout.directory):
            link.unlink()
    for file in _CNI_RESULTS.glob("*"):
        if f'"{layout.directory}/' in file.read_text(errors="replace"):  # the path of the pod's network namespace
            file.unlink()
