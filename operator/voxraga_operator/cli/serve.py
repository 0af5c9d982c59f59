"""`voxraga serve`: the fetch Job and the Deployment of a VoiceModel, as processes of this machine."""

import importlib.util
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from voxraga_operator.cli.address import Address
from voxraga_operator.cli.containers import Folders, Process, check_names, process
from voxraga_operator.cli.failure import AGAIN, GIVE_UP, Failure
from voxraga_operator.cli.planned import Planned
from voxraga_operator.cli.processes import Ending, Supervisor, wait_ready
from voxraga_operator.plan import labels
from voxraga_operator.plan.canonical import human_bytes

_NEEDED = ("voxraga_runtime", "fastapi", "pydantic_settings", "httpx", "TTS", "torch")
"""Modules without which the runtime can't work: the package is always there, its libraries are an extra."""


def say(line: str) -> None:
    """To people; stdout is the children's, who log there."""
    sys.stderr.write(f"voxraga: {line}\n")
    sys.stderr.flush()


def serve(made: Planned, folders: Folders, address: Address) -> int:
    """Fetch, then serve until told to stop. Returns the exit code, or raises Failure."""
    check_names((made.job, made.deployment), folders)
    fetch = process(made.job, folders)
    own = {"VOXRAGA_HOST": address.host, "VOXRAGA_PORT": str(address.port)}
    server = process(made.deployment, folders, own)
    _check_runtime()
    for each in (*fetch.left_out, *server.left_out):
        say(f"left out: {each}")
    with Supervisor() as supervisor:
        _fetch(supervisor, fetch, folders.store / "models" / made.job["metadata"]["labels"][labels.KEY], made)
        _prepare_uploads(server)
        return _serve(supervisor, server, address, made)


def _prepare_uploads(server: Process) -> None:
    """The kubelet makes the folder of a mount, too."""
    uploads = server.environment.get("VOXRAGA_UPLOADS_PATH")
    if uploads:
        Path(uploads).mkdir(parents=True, exist_ok=True)


def _check_runtime() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Failure(
            f"the runtime is not installed beside this command (no {', '.join(missing)}):"
            " install voxraga[runtime] into this environment, or run `scripts/setup pure` in the repository"
        )


def _fetch(supervisor: Supervisor, fetch: Process, model: Path, made: Planned) -> None:
    before = _stamp(model)
    source = made.model.spec.source.label
    say(f"{source}: {'looking through what is stored' if before else 'fetching it'} ({model.parents[1]})")
    ended = supervisor.run(fetch)
    if supervisor.asked:
        kept = "nothing is served; what was downloaded is kept, and the next start goes on from there"
        raise Failure(f"stopped while fetching: {kept}", 128 + supervisor.asked)
    if ended.code != 0:
        raise Failure(f"the fetch failed{_why(ended)}", ended.code if ended.code in (AGAIN, GIVE_UP) else AGAIN)
    words = ended.words
    how = "verified, not fetched again" if before and before == _stamp(model) else "fetched, verified and stored"
    say(f"{source}: {how} ({human_bytes(int(words.get('bytes') or 0))}, {words.get('digest', 'no digest')})")


def _stamp(model: Path) -> tuple[int, int] | None:
    """Tells a published model from another one under the same key."""
    try:
        found = (model / "manifest.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _serve(supervisor: Supervisor, server: Process, address: Address, made: Planned) -> int:
    keys = "VOXRAGA_API_KEYS_PATH" in server.environment
    if address.public and not keys:
        say(f"{address.host} is not loopback: whoever reaches this machine can use the server, without a key")
    ended = supervisor.run(server, _telling(address, made, keys=keys))
    if supervisor.overdue:
        raise Failure(f"the server did not end within {server.grace} s of being asked to, and was killed", ended.code)
    # A server that had not yet come to handle the signal has been ended by it, and had nothing to drain.
    if ended.code == 0 or (supervisor.asked and ended.signal == "SIGTERM"):
        say("stopped")
        return 0
    if supervisor.asked:
        return ended.code
    raise Failure(f"the server ended{_why(ended)}", ended.code if ended.signal else AGAIN)


def _telling(address: Address, made: Planned, *, keys: bool) -> Callable[[Callable[[], bool]], None]:
    """Says when the server is ready, and how to use it."""

    def tell(runs: Callable[[], bool]) -> None:
        begun = time.monotonic()
        say(f"{made.model.metadata.name}: loading the model")
        if wait_ready(address.reached_by, address.port, runs):
            say(f"{made.model.metadata.name}: ready at {address.url} after {time.monotonic() - begun:.0f} s; try")
            say(f"  {_example(address, made, keys=keys)}")

    return tell


def _example(address: Address, made: Planned, *, keys: bool) -> str:
    """A first request, to be typed."""
    asked = f"curl {address.url}/v1/audio/"
    key = ' -H "X-API-Key: $KEY"' if keys else ""
    if made.model.spec.task == "SpeechToText":
        return f"{asked}transcriptions{key} -F file=@recording.wav"
    body = shlex.quote('{"input": "Hello"}')
    return f"{asked}speech{key} -d {body} > hello.{made.model.spec.serving.defaults.format}"


def _why(ended: Ending) -> str:
    """A sentence's end: the reason and the message that the program left, or what can be seen from outside."""
    reason, message = ended.words.get("reason"), ended.words.get("message")
    if reason:
        again = " (starting again may help)" if ended.words.get("retriable") else ""
        return f": {reason}: {message}{again}"
    if ended.signal:
        memory = "; most likely for lack of memory" if ended.signal == "SIGKILL" else ""
        return f" by {ended.signal}{memory}"
    return f" with exit code {ended.code} and left no reason; its log above may tell"
