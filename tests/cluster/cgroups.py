"""The cgroup below which the kubelet puts its pods: in every v1 hierarchy, or in the one of v2."""

import time
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def create(name: str) -> None:
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # A cpuset without CPUs and memory nodes takes no process.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())
    if is_v2():
        _delegate(_ROOT / name)


def pids(name: str) -> list[int]:
    """The processes in the cgroup and below."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for file in (hierarchy / name).rglob("cgroup.procs"):
            with suppress(OSError):
                found.update(map(int, file.read_text().split()))
    return sorted(found)


def delete(name: str) -> None:
    """Remove it in every hierarchy; the kernel may take a moment to let go of a process that has just ended."""
    deadline = time.monotonic() + 5
    while left := [
        group for hierarchy in _hierarchies() if (group := hierarchy / name).is_dir() and not _remove(group)
    ]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"cgroups that stay: {', '.join(map(str, left))}")
        time.sleep(0.05)


def exists(name: str) -> bool:
    return any((hierarchy / name).is_dir() for hierarchy in _hierarchies())


def _hierarchies() -> list[Path]:
    if is_v2():
        return [_ROOT]
    # In hybrid mode `unified` is among them: nothing is limited there, but runc makes a group in it nevertheless.
    return [folder for folder in _ROOT.iterdir() if not folder.is_symlink() and (folder / "cgroup.procs").exists()]


def _delegate(group: Path) -> None:
    controllers = (group.parent / "cgroup.controllers").read_text().split()
    for target in (group.parent, group):
        for controller in controllers:
            with suppress(OSError):
                (target / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove(group: Path) -> bool:
    folders = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    for folder in [*folders, group]:
        with suppress(OSError):
            folder.rmdir()
    return not group.exists()
