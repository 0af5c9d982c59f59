"""The pieces of an utterance: made one after another, and ahead of their turn on cores that nobody else uses.

A piece is made by one thread and in the same way, whoever makes it and when: the samples don't depend on the load.
Each utterance that is being spoken has one core, its caller's thread; those that are left over make what comes next, of
whoever is least ahead. When another utterance begins, they are taken back at once: what was made ahead is dropped in
the middle, and made again when its turn comes.
"""

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto

from voxraga_runtime.server.engines.base import Cancelled, Chunk

Check = Callable[[], None]  # to be called in the middle of work, every few ms: raises Stopped where it isn't wanted
Work = Callable[[Check], "Chunk | Sequence[Work]"]  # a chunk, or the pieces that it is to be made of

FAR = 2  # pieces ahead of their turn, for each core: enough to keep it busy, and a bound to memory


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Nobody wants what is being made."""


class _State(Enum):
    WAITING = auto()
    RUNNING = auto()
    MADE = auto()


@dataclass(slots=True, eq=False)
class _Piece:
    work: Work
    state: _State = _State.WAITING
    awaited: bool = False  # the utterance's own thread waits for it, and has lent it its core
    dropped: bool = False  # a thread that makes it ahead shall stop
    chunk: Chunk | None = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class _Line:
    """What is left of an utterance, in order; what was made of it and not taken yet is among it."""

    pieces: list[_Piece]
    cancelled: Cancelled
    closed: bool = False
    ahead: list[_Piece] = field(default_factory=list)  # those that other threads are making

    def begun(self) -> int:
        return sum(piece.state is not _State.WAITING for piece in self.pieces)

    def next(self) -> _Piece | None:
        return next((piece for piece in self.pieces if piece.state is _State.WAITING), None)


class Cores:
    """`count` cores, for all that this process speaks; `setup` runs once in each thread that works ahead.

    With one core nothing is made ahead, and there are no threads.
    """

    def __init__(self, count: int, setup: Callable[[], None] = lambda: None) -> None:
        self._count = count
        self._changed = threading.Condition()
        self._lines: list[_Line] = []
        self._threads = ThreadPoolExecutor(count, "ahead", initializer=setup)

    def speak(self, works: Sequence[Work], cancelled: Cancelled) -> Generator[Chunk, None, None]:
        """The chunks of these pieces, in order; raises what a piece raises, in its turn.

        Ends early once cancelled. When it has ended, no thread works on them any more.
        """
        with self._line(works, cancelled) as line, contextlib.suppress(Stopped):
            while (chunk := self._first(line)) is not None:
                yield chunk

    def close(self) -> None:
        """Only once nobody speaks."""
        self._threads.shutdown()

    @contextlib.contextmanager
    def _line(self, works: Sequence[Work], cancelled: Cancelled) -> Iterator[_Line]:
        line = _Line([_Piece(work) for work in works], cancelled)
        with self._changed:
            self._lines.append(line)
        try:
            yield line
        finally:
            with self._changed:
                line.closed = True
                self._changed.wait_for(lambda: not line.ahead)
                self._lines.remove(line)
                self._assign()

    def _first(self, line: _Line) -> Chunk | None:
        """The next chunk, made here unless another thread has begun with it; None at the end."""
        while True:
            _check(line)
            with self._changed:
                if not line.pieces:
                    return None
                piece = line.pieces[0]
                if piece.state is _State.MADE:
                    del line.pieces[0]
                    if piece.error is not None:
                        raise piece.error
                    return piece.chunk
                piece.awaited = True
                mine = piece.state is _State.WAITING
                piece.state = _State.RUNNING
                self._assign()
                if not mine:  # it is made soon, or it was dropped, or it turns out to be several
                    while piece.state is _State.RUNNING:
                        self._changed.wait()
            if mine:
                self._make(line, piece, lambda: _check(line))

    def _assign(self) -> None:
        """Begin what cores are free for; drop what there is none for any more. Called with the lock held."""
        ahead = [piece for line in self._lines for piece in line.ahead if not piece.awaited]
        free = self._count - len(self._lines) - len(ahead)
        while free > 0 and (found := self._candidate()) is not None:
            self._begin(*found)
            free -= 1
        kept = [piece for piece in ahead if not piece.dropped]
        for piece in kept[max(0, self._count - len(self._lines)) :]:
            piece.dropped = True

    def _candidate(self) -> tuple[_Line, _Piece] | None:
        for line in sorted(self._lines, key=_Line.begun):
            piece = line.next()
            if piece is not None and not line.closed and line.begun() < FAR * self._count:
                return line, piece
        return None

    def _begin(self, line: _Line, piece: _Piece) -> None:
        piece.state = _State.RUNNING
        line.ahead.append(piece)
        self._threads.submit(self._ahead, line, piece)

    def _ahead(self, line: _Line, piece: _Piece) -> None:
        def check() -> None:
            _check(line)
            if piece.dropped or line.closed:
                raise Stopped

        try:
            self._make(line, piece, check)
        except Stopped:
            with self._changed:
                line.closed |= not piece.dropped  # it was cancelled: nothing more of it ahead
                piece.state, piece.dropped = _State.WAITING, False
        finally:
            with self._changed:
                line.ahead.remove(piece)
                self._assign()
                self._changed.notify_all()

    def _make(self, line: _Line, piece: _Piece, check: Check) -> None:
        """Raises Stopped; any other error is the piece's result."""
        made: Chunk | Sequence[Work] = ()
        error = None
        try:
            check()
            made = piece.work(check)
        except Stopped:
            raise
        except BaseException as raised:  # noqa: BLE001 - raised in its turn
            error = raised
        with self._changed:
            piece.state = _State.MADE
            if isinstance(made, Chunk):
                piece.chunk = made
            elif error is not None:
                piece.error = error
            else:
                place = line.pieces.index(piece)
                line.pieces[place : place + 1] = [_Piece(work) for work in made]


def _check(line: _Line) -> None:
    if line.cancelled():
        raise Stopped
