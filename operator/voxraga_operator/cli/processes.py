"""Runs the children one after the other: hands on the request to stop, and reads their last words."""

import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any, Self

from voxraga_operator.cli.containers import Process, inherited
from voxraga_operator.cli.failure import Failure

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ECHO = 1.0
"""Seconds in which a further signal is the same request: a terminal and a wrapper both tell of one Ctrl-C."""
_GLANCE = 0.25
"""Seconds between two looks at a server that is loading."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a child ended."""

    code: int
    """Exit code; of a child that a signal ended, 128 and the signal's number, as a shell says it."""
    signal: str = ""
    """Name of the signal that ended it."""
    words: dict[str, Any] = field(default_factory=dict)
    """What it left as its termination message."""


class Supervisor:
    """One child at a time. It gets SIGTERM when this process is asked to stop, and SIGKILL where its grace is over."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        """The first signal that asked to stop."""
        self.overdue = False
        """Whether a child was killed for not having ended in time."""
        self._asked_at = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._grace = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        handlers = dict.fromkeys(_STOPS, self._stop) | {signal.SIGALRM: self._kill}
        self._before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, process: Process, meanwhile: Callable[[Callable[[], bool]], None] | None = None) -> Ending:
        """Run a child to its end. `meanwhile` is called with a function that says whether it still runs unasked."""
        with tempfile.TemporaryDirectory(prefix="voxraga-") as folder:
            last_words = Path(folder) / "termination"
            with self._start(process, last_words) as child:
                try:
                    if meanwhile:
                        meanwhile(lambda: child.poll() is None and self.asked is None)
                    code = child.wait()
                except BaseException:
                    child.kill()  # whatever went wrong here, nothing is left running
                    raise
                finally:
                    signal.alarm(0)
                    self._child = None
            return _ending(code, last_words)

    def _start(self, process: Process, last_words: Path) -> "subprocess.Popen[bytes]":
        own = {**process.environment, "VOXRAGA_TERMINATION_LOG": str(last_words)}
        self._grace = process.grace
        # In a session of its own: else a terminal's Ctrl-C reaches it beside ours, and two mean "at once".
        try:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                process.command,
                env=inherited(os.environ) | own,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Failure(f"{process.command[0]} can't be started: {error.strerror}") from None
        self._child = child
        if self.asked:  # between the signal and here there was nothing to hand it on to
            self._ask()
        return child

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked and now - self._asked_at < _ECHO:
            return
        self.asked = self.asked or signal.Signals(number)
        self._asked_at = now
        self._ask()

    def _ask(self) -> None:
        if self._child:
            self._child.send_signal(signal.SIGTERM)
            signal.alarm(self._grace)

    def _kill(self, _number: int, _frame: FrameType | None) -> None:
        if self._child:
            self.overdue = True
            self._child.kill()


def _ending(code: int, last_words: Path) -> Ending:
    words: Any = {}
    with suppress(OSError, ValueError):
        words = json.loads(last_words.read_text(encoding="utf-8"))
    if not isinstance(words, dict):
        words = {}
    if code < 0:
        return Ending(code=128 - code, signal=signal.Signals(-code).name, words=words)
    return Ending(code=code, words=words)


def wait_ready(host: str, port: int, runs: Callable[[], bool]) -> bool:
    """Whether the server said 200 at /ready, before it ended or was asked to."""
    while runs():
        if _is_ready(host, port):
            return True
        time.sleep(_GLANCE)
    return False


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
