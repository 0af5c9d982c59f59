"""Run `fetch` again and again, each time killed at the next step that reaches the disk. A program, for test_killed.py.

    python killed.py SOURCE_FOLDER STORE KEY

Each try is a forked process that ends with _exit at its n-th step, as by kill -9, and keeps what it had done so far.
Prints {"steps": …, "states": […]}: what models/<key> was after each kill.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voxraga_runtime.store import StoreError, fetch, verify

STEPS = ("fsync", "replace", "rename", "link", "mkdir", "chmod", "unlink", "rmdir")
ENOUGH = 400


def main(claim: str, store: str, key: str) -> None:
    os.environ |= {
        "VOXRAGA_SOURCE": '{"persistentVolumeClaim": {"claimName": "c"}}',
        "VOXRAGA_SOURCE_PATH": claim,
        "VOXRAGA_STORE_KEY": key,
        "VOXRAGA_STORE_PATH": store,
        "VOXRAGA_TERMINATION_LOG": os.devnull,
        "VOXRAGA_LOG_LEVEL": "critical",
    }
    states: list[str] = []
    for step in range(1, ENOUGH):
        code = attempt(step)
        states.append(state(Path(store) / "models" / key))
        if code == 0:
            break
    print(json.dumps({"steps": len(states), "states": states}))


def attempt(step: int) -> int:
    child = os.fork()
    if child == 0:
        kill_at(step)
        os._exit(fetch.main())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(step: int) -> None:
    left = [step]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os._exit(137)
            return call(*arguments, **more)

        return wrapper

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def state(model: Path) -> str:
    if not model.exists():
        return "nothing"
    try:
        verify(model)
    except StoreError as error:
        return f"broken: {error}"
    return "all"


if __name__ == "__main__":
    main(*sys.argv[1:])
