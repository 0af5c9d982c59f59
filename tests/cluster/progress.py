"""One line a step with its seconds, so that nobody wonders what a long build is doing."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_began = time.monotonic()
_lock = threading.Lock()


def say(text: str) -> None:
    with _lock:
        print(f"[{time.monotonic() - _began:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    say(f"{name} …")
    start = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"{name}: failed after {time.monotonic() - start:.1f} s")
        raise
    say(f"{name}: {time.monotonic() - start:.1f} s")
