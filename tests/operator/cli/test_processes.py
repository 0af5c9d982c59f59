"""How children are run, asked to stop, and what is made of their ends."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.operator.cli.files import made
from voxraga_operator.cli import processes
from voxraga_operator.cli.address import Address
from voxraga_operator.cli.containers import Process
from voxraga_operator.cli.failure import Failure
from voxraga_operator.cli.processes import Ending, Supervisor
from voxraga_operator.cli.serve import _fetch, _serve, _why

SAYS = "import os; open(os.environ['VOXRAGA_TERMINATION_LOG'], 'w').write({!r}); raise SystemExit({})"
# Tells of each SIGTERM in a file, and ends with the second one.
DRAINS = """
import os, pathlib, signal, sys, time
def stop(*_):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    pathlib.Path(sys.argv[1]).write_text('asked')
    time.sleep({})
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1]).write_text('up')
time.sleep(60)
"""


def child(script: str, *arguments: str, grace: int = 30) -> Process:
    return Process(command=(sys.executable, "-c", script, *arguments), environment={"A": "1"}, grace=grace)


def when(path: Path, content: str) -> None:
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_text() == content):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "expected"),
    [('{"reason": "StoreFull"}', {"reason": "StoreFull"}), ("no JSON", {}), ("[]", {})],
)
def test_last_words(words: str, expected: dict[str, str]) -> None:
    with Supervisor() as supervisor:
        assert supervisor.run(child(SAYS.format(words, 3))) == Ending(code=3, words=expected)


def test_a_child_that_is_killed() -> None:
    with Supervisor() as supervisor:
        ended = supervisor.run(child("import os; os.kill(os.getpid(), 9)"))
    assert ended == Ending(code=137, signal="SIGKILL")


def test_the_environment_of_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXRAGA_DEFAULT_VOICE", "of the shell")
    script = "import os; raise SystemExit(os.environ['A'] == '1' and 'VOXRAGA_DEFAULT_VOICE' not in os.environ)"
    with Supervisor() as supervisor:
        assert supervisor.run(child(script)).code == 1


def test_a_program_that_is_not_there() -> None:
    with Supervisor() as supervisor, pytest.raises(Failure, match="can't be started: No such file"):
        supervisor.run(Process(command=("/no/such/program",), environment={}, grace=1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_request_to_stop_is_handed_on_once(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C may come twice, from the terminal and from a wrapper: the child still drains."""
    file = tmp_path / "told"

    def meanwhile(runs: Callable[[], bool]) -> None:
        when(file, "up")
        assert runs()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert not runs()

    with Supervisor() as supervisor:
        ended = supervisor.run(child(DRAINS.format(0.3), str(file)), meanwhile)
    assert ended == Ending(code=0)
    assert supervisor.asked == number
    assert not supervisor.overdue
    assert file.read_text() == "asked"


def test_a_second_request_is_handed_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_ECHO", 0.0)
    file = tmp_path / "told"

    def meanwhile(_: Callable[[], bool]) -> None:
        when(file, "up")
        os.kill(os.getpid(), signal.SIGINT)
        when(file, "asked")
        os.kill(os.getpid(), signal.SIGINT)

    with Supervisor() as supervisor:
        assert supervisor.run(child(DRAINS.format(30), str(file)), meanwhile).code == 7


def test_who_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "told"

    def meanwhile(_: Callable[[], bool]) -> None:
        when(file, "up")
        os.kill(os.getpid(), signal.SIGTERM)

    with Supervisor() as supervisor:
        assert supervisor.run(child(DRAINS.format(30), str(file), grace=1), meanwhile).signal == "SIGKILL"
        assert supervisor.overdue


def test_a_request_between_two_children_stops_the_next() -> None:
    with Supervisor() as supervisor:
        os.kill(os.getpid(), signal.SIGTERM)
        assert supervisor.run(child("import time; time.sleep(60)")).signal == "SIGTERM"


def test_nothing_is_left_running_where_something_goes_wrong() -> None:
    def meanwhile(_: Callable[[], bool]) -> None:
        raise ValueError("wrong")

    with Supervisor() as supervisor, pytest.raises(ValueError, match="wrong"):
        supervisor.run(child("import time; time.sleep(60)"), meanwhile)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Supervisor():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (Ending(code=2, words={"reason": "SecretInvalid", "message": "no token"}), ": SecretInvalid: no token"),
        (
            Ending(code=1, words={"reason": "SourceTimeout", "message": "slow", "retriable": True}),
            ": SourceTimeout: slow (starting again may help)",
        ),
        (Ending(code=137, signal="SIGKILL"), " by SIGKILL; most likely for lack of memory"),
        (Ending(code=139, signal="SIGSEGV"), " by SIGSEGV"),
        (Ending(code=3), " with exit code 3 and left no reason; its log above may tell"),
    ],
)
def test_an_end_in_words(ended: Ending, told: str) -> None:
    assert _why(ended) == told


def ask_when(path: Path, content: str) -> threading.Thread:
    """Sends SIGINT to this process once a child has told of something."""

    def wait() -> None:
        when(path, content)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_stop_while_fetching_says_what_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "told"
    asking = ask_when(file, "up")
    with Supervisor() as supervisor, pytest.raises(Failure, match=r"stopped while fetching: .* goes on from") as failed:
        _fetch(supervisor, child(DRAINS.format(0), str(file)), tmp_path / "models" / "0f", made())
    asking.join()
    assert failed.value.code == 130


SOMEWHERE = Address(host="127.0.0.1", port=9)  # nobody answers there


def test_a_server_that_is_stopped_while_it_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "told"
    asking = ask_when(file, "up")
    with Supervisor() as supervisor:
        assert _serve(supervisor, child(DRAINS.format(0), str(file)), SOMEWHERE, made()) == 0
    asking.join()
    assert capsys.readouterr().err.splitlines()[-1] == "voxraga: stopped"


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        (
            SAYS.format('{"reason": "WarmupFailed", "message": "silence"}', 1),
            1,
            "the server ended: WarmupFailed: silen",
        ),
        ("import os; os.kill(os.getpid(), 9)", 137, "the server ended by SIGKILL; most likely for lack of mem"),
    ],
)
def test_a_server_that_ends_by_itself(script: str, code: int, told: str) -> None:
    with Supervisor() as supervisor, pytest.raises(Failure, match=told) as failed:
        _serve(supervisor, child(script), SOMEWHERE, made())
    assert failed.value.code == code


def test_a_server_on_a_public_address_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    with Supervisor() as supervisor:
        assert _serve(supervisor, child(""), Address(host="0.0.0.0", port=9), made()) == 0
    assert "0.0.0.0 is not loopback: whoever reaches this machine can use the server" in capsys.readouterr().err
