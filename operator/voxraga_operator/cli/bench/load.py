"""Callers beside each other, each asking again as soon as it has its answer, until time or requests are over."""

import threading
import time
from collections.abc import Iterator, Sequence

from voxraga_operator.cli.bench.ask import Client, Failed, Outcome, Refused, Target
from voxraga_operator.cli.failure import Failure

LONGEST_WAIT = 10.0
"""Seconds that a refused caller waits at most, whatever Retry-After asks."""
AFTER_ERROR = 1.0
"""Seconds of rest after an error: a server that is gone gives thousands of them a second."""
_LEAVING = 2.0
"""Seconds for the callers to end after Ctrl-C; who connects just then is left behind."""


class Load:
    """One run. A thread for each caller: what they share is behind one lock."""

    def __init__(
        self, target: Target, texts: Iterator[str], *, clients: int, seconds: float | None, requests: int | None
    ) -> None:
        """`seconds` is how long new requests are sent; those under way then are waited for."""
        self._clients = [Client(target) for _ in range(clients)]
        self._texts = texts
        self._seconds = seconds
        self._left = requests
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failure: Failure | None = None
        self._outcomes: list[Outcome] = []
        self._begun = self._last = 0.0
        self.interrupted = False

    def run(self) -> tuple[Sequence[Outcome], float]:
        """What became of the requests, and the seconds until the last one ended; Ctrl-C ends it early.

        Raises Failure where the server says that a request itself is wrong.
        """
        threads = [threading.Thread(target=self._call, args=(client,), daemon=True) for client in self._clients]
        self._begun = self._last = time.monotonic()
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self._interrupt()
            leaving = time.monotonic() + _LEAVING
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, leaving - time.monotonic()))
        if self._failure:
            raise self._failure
        return self._outcomes, self._last - self._begun

    def _interrupt(self) -> None:
        """Answers under way count for nothing, and are not waited for."""
        with self._lock:
            self.interrupted = True
            self._last = time.monotonic()
            self._over.set()
        for client in self._clients:
            client.abort()

    def _call(self, client: Client) -> None:
        try:
            while (text := self._next()) is not None:
                outcome = client.ask(text)
                self._keep(outcome)
                self._over.wait(self._pause(outcome))
        except Failure as failure:
            self._failure = failure
            self._over.set()
        finally:
            client.close()

    def _next(self) -> str | None:
        with self._lock:
            if self._over.is_set() or self._left == 0 or self._remaining() == 0:
                return None
            if self._left is not None:
                self._left -= 1
            return next(self._texts)

    def _keep(self, outcome: Outcome) -> None:
        with self._lock:
            if not self._over.is_set():
                self._outcomes.append(outcome)
                self._last = time.monotonic()

    def _pause(self, outcome: Outcome) -> float:
        """Seconds until this caller's next request: refused ones wait as they were asked to, as clients do."""
        wait = 0.0
        if isinstance(outcome, Refused):
            wait = min(outcome.wait, LONGEST_WAIT)
        elif isinstance(outcome, Failed):
            wait = AFTER_ERROR
        return 0.0 if self._left == 0 else min(wait, self._remaining())

    def _remaining(self) -> float:
        """Seconds in which requests are sent; without an end where their number is given."""
        return LONGEST_WAIT if self._seconds is None else max(0.0, self._begun + self._seconds - time.monotonic())
