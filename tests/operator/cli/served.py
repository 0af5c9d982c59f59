"""`voxraga serve` as a running command, for the tests that ask it for speech."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.operator.cli.files import EXAMPLES, ROOT

PATIENCE = 120  # seconds; torch is imported twice, on a busy machine
COMMAND = [sys.executable, "-m", "voxraga_operator.cli", "serve", "--port", "0"]
EXAMPLE = str(EXAMPLES / "voicemodel.yaml")


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), str(ROOT / "runtime")]),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "VOXRAGA_DEFAULT_VOICE": "of-this-shell",  # not the VoiceModel's: must not count
        **more,
    }


class Served:
    """The running command."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [*COMMAND, *(arguments or ("-f", EXAMPLE))]
        self.process = subprocess.Popen(
            command, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        self.logged: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._readers = [threading.Thread(target=self._read_words), threading.Thread(target=self._read_log)]
        for reader in self._readers:
            reader.start()

    @property
    def url(self) -> str:
        assert self._ready.wait(PATIENCE), self.said
        found = re.search(r"ready at (http://127\.0\.0\.1:\d+)", "\n".join(self.said))
        assert found, self.said
        return found[1]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return code

    def _read_words(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for line in lines:
                self.said.append(line.strip())
                if "ready at" in line:
                    self._ready.set()
        self._ready.set()

    def _read_log(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            self.logged.extend(json.loads(line) for line in lines)


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Served]:
    running = Served(folder, *arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()  # so that its own child ends too
        running.end()


def spoken(url: str, **body: Any) -> bytes:
    asked = urllib.request.Request(
        f"{url}/v1/audio/speech", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
        return bytes(answer.read())
