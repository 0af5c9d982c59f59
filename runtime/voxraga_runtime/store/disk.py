"""Files that survive a power cut, and errors of the disk in the contract's words."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import StoreError

FILE_MODE = 0o644  # the server's pod reads the store through its group (fsGroup) at most
FOLDER_MODE = 0o755
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def store_errors(store: Path, needed: int | None = None) -> Iterator[None]:
    """Turn the operating system's errors on the store into StoreFull and StoreNotWritable.

    `needed` is the number of bytes that were to be written, for the message. Other errors pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreError("StoreFull", _full(store, needed)) from error
        if error.errno in FORBIDDEN:
            raise StoreError("StoreNotWritable", _not_writable(store, error)) from error
        raise


def require_space(store: Path, needed: int) -> None:
    """Raise StoreError StoreFull when fewer than `needed` bytes are free on the store's volume."""
    if needed > shutil.disk_usage(store).free:
        raise StoreError("StoreFull", _full(store, needed))


def _full(store: Path, needed: int | None) -> str:
    usage = shutil.disk_usage(store)
    wanted = f"{size(needed)} more are needed, " if needed else ""
    return f"{store}: {wanted}{size(usage.free)} of {size(usage.total)} are free; enlarge spec.store.size"


def _not_writable(store: Path, error: OSError) -> str:
    return (
        f"{error.filename or store}: {error.strerror}; the store must be a read-write volume "
        f"that user {os.getuid()} or group {os.getgid()} can write"
    )


def size(count: int) -> str:
    """A number of bytes for people, for example `1.8 GiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def sync(path: Path) -> None:
    """Wait until a file's content or a folder's names are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """`sync` everything under a folder and the folder, and give it the store's permissions."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
        sync(path)
    folder.chmod(FOLDER_MODE)
    sync(folder)


def write(path: Path, text: str) -> None:
    """Replace a file by `text` in one step: a reader, or a crash, finds the old content or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(FILE_MODE)
    sync(temporary)
    temporary.replace(path)


def link(origin: Path, target: Path) -> None:
    """Put a file at a second place without a second copy; copies where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin, target)
    except OSError as error:
        if error.errno in FULL:
            raise
        shutil.copyfile(origin, target)


def try_lock(handle: int) -> bool | None:
    """Whether we have the lock of this open file now; the kernel frees it when we end. None: the store has none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return None
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds; nothing happens when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
