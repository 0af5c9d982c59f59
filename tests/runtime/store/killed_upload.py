"""Replace an uploaded model again and again, each time killed at the next step that reaches the disk. A program.

    python killed_upload.py FOLDER

Prints what the folder's one model was after each kill, and once more after the next start: "old", "new" or a fault.
"""

import json
import os
import sys
from pathlib import Path

from tests.runtime.server.brought import publish
from tests.runtime.store.killed import ENOUGH, kill_at
from voxraga_runtime.store import StoreError, verify
from voxraga_runtime.store.uploads import Uploads


def main(folder: str) -> None:
    uploads = Uploads(Path(folder))
    states = []
    for step in range(1, ENOUGH):
        uploads.prepare()
        uploads.remove("mine")
        publish(uploads, "mine", {"model.pth": b"old"})
        code = attempt(uploads, step)
        states.append([state(uploads)])
        uploads.prepare()
        # an upload that was killed before it had its lock is an empty folder; it goes an hour later
        left = [
            path.name for path in (uploads.path / "partial").iterdir() if path.name[0] != "." or any(path.glob("*/*"))
        ]
        states[-1] += [state(uploads), left]
        if code == 0:
            break
    print(json.dumps(states))


def attempt(uploads: Uploads, step: int) -> int:
    child = os.fork()
    if child == 0:
        kill_at(step)
        publish(uploads, "mine", {"model.pth": b"new"}, replace=True)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state(uploads: Uploads) -> str:
    found = uploads.find("mine")
    if found is None:
        return "nothing"
    try:
        verify(found)
    except StoreError as error:
        return f"broken: {error}"
    return (found / "files" / "model.pth").read_text()


if __name__ == "__main__":
    main(*sys.argv[1:])
