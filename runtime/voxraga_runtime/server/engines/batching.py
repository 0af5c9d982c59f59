"""Dynamic batches: equal pieces of work from several threads, done at once, after a delay that is bounded.

Nobody waits for those who are not there: as long as every member has handed in its piece, the batch starts at once.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Piece(Generic[Key, Item, Result]):
    key: Key
    item: Item
    future: "Future[Result]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Key, Item, Result]):
    """Hands pieces of one key, at most `size` of them and in the order they came, to `run` on a thread of its own.

    `run` returns a result for each item; `setup` runs once on that thread. The oldest piece waits at most `delay`
    seconds for company, plus the batches before it.
    """

    def __init__(
        self,
        run: Callable[[Key, list[Item]], list[Result]],
        size: int,
        delay: float,
        setup: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._size = size
        self._delay = delay
        self._setup = setup
        self._pieces: list[_Piece[Key, Item, Result]] = []
        self._members = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def member(self) -> Iterator[None]:
        """While entered, this thread hands in pieces, and a batch may wait for it."""
        with self._changed:
            self._members += 1
        try:
            yield
        finally:
            with self._changed:
                self._members -= 1
                self._changed.notify()

    def do(self, key: Key, item: Item) -> Result:
        """The result for one piece; raises what `run` raises for it alone."""
        piece: _Piece[Key, Item, Result] = _Piece(key, item)
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._pieces.append(piece)
            self._changed.notify()
        return piece.future.result()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        self._setup()
        while batch := self._next():
            if not self._done(batch) and len(batch) > 1:
                for piece in batch:  # what is wrong with one must not fail the others
                    self._done([piece])

    def _done(self, batch: list[_Piece[Key, Item, Result]]) -> bool:
        """Run a batch; a single piece takes its error, of several nobody does yet."""
        try:
            results = self._run(batch[0].key, [p.item for p in batch])
            for piece, result in zip(batch, results, strict=True):
                piece.future.set_result(result)
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            if len(batch) == 1:
                batch[0].future.set_exception(error)
            return False
        return True

    def _next(self) -> list[_Piece[Key, Item, Result]]:
        """The next batch: those of the oldest piece's key. Empty once closed."""
        with self._changed:
            while True:
                if self._pieces:
                    batch = [p for p in self._pieces if p.key == self._pieces[0].key][: self._size]
                    left = self._pieces[0].since + self._delay - time.monotonic()
                    if len(batch) == self._size or len(self._pieces) >= self._members or left <= 0 or self._closed:
                        self._pieces = [p for p in self._pieces if p not in batch]
                        return batch
                    self._changed.wait(left)
                elif self._closed:
                    return []
                else:
                    self._changed.wait()
