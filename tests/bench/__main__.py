"""The command `python -m tests.bench`: publishes the models, runs both servers, prints a table for each model."""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench import device, machine
from tests.bench.bare import Bare
from tests.bench.figures import table
from tests.bench.measure import FULL, QUICK, Size, Trials
from tests.bench.servers import BenchError, Ours, Theirs, alive, environment, running, stop
from voxraga_runtime.store.sources.local import voices

ROUNDS = 8
SOURCE = "source"  # the folder of the model that the bench makes


@dataclass(frozen=True, slots=True)
class Model:
    """A model to serve: its source as in spec.source, its first voice ("" where it has just one), its rate in Hz."""

    title: str
    source: dict[str, object]
    voice: str
    rate: int
    short: str  # a text that both servers can speak: coqui fails where the model gets too few letters
    share: float  # of the time


MODELS = {
    "vits": Model(
        "VITS, coqui's default size, random weights",
        {"persistentVolumeClaim": {"claimName": "bench"}},
        "",
        22050,
        "Hi.",
        0.75,
    ),
    "demo": Model(
        "The demo voice (SpeedySpeech, Griffin-Lim)", {"builtin": {"name": "demo"}}, "rms", 16000, "Good morning.", 0.25
    ),
}


def main() -> int:
    arguments = _arguments()
    budget = arguments.seconds or (85 if arguments.quick else 340)
    size = QUICK if arguments.quick else FULL
    if arguments.device:
        return device.main(arguments.device, quick=arguments.quick)
    print(machine.describe(), flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="voxraga-bench-") as scratch:
            stored = _publish(Path(scratch), arguments.models)
            left = sum(MODELS[name].share for name in arguments.models)
            deadline = arguments.started + budget
            for name in arguments.models:
                until = time.monotonic() + (deadline - time.monotonic()) * MODELS[name].share / left
                left -= MODELS[name].share
                original = voices() / name if name == "demo" else Path(scratch) / SOURCE
                _bench(MODELS[name], stored[name], original, size, until, keep=arguments.keep)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\nTook {time.monotonic() - arguments.started:.0f} s.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small round of VITS, under 90 s: does it work?")
    parser.add_argument("--seconds", type=float, help="about how long all of it may take (default 340)")
    parser.add_argument("--keep", type=Path, help="a file for the trials; those that are in it count as well")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="the engines alone on it: precisions and batches")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)} (default: all)")
    found = parser.parse_args()
    if unknown := set(found.models) - set(MODELS):
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    found.models = found.models or (["vits"] if found.quick else list(MODELS))
    found.started = time.monotonic()
    return found


def _publish(scratch: Path, names: list[str]) -> dict[str, Path]:
    """Each model in a store of its own, by the very `fetch` that a cluster runs."""
    if "vits" in names:
        _run(["-m", "tests.bench.model", str(scratch / SOURCE)], {})
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(lambda name: _fetch(scratch, name), names), strict=True))


def _fetch(scratch: Path, name: str) -> Path:
    store, key = scratch / name, "0" * 16
    store.mkdir()
    settings = {"SOURCE": json.dumps(MODELS[name].source), "SOURCE_PATH": str(scratch / SOURCE)}
    settings |= {"STORE_KEY": key, "STORE_PATH": str(store), "TERMINATION_LOG": str(scratch / f"{name}.fetched")}
    _run(["-m", "voxraga_runtime", "fetch"], {f"VOXRAGA_{k}": v for k, v in settings.items()})
    return store / "models" / key


def _run(arguments: list[str], settings: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(settings), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _bench(model: Model, path: Path, original: Path, size: Size, until: float, *, keep: Path | None) -> None:
    """Rounds until the time is over; at least one. `path` is the stored model, `original` its files before that."""
    before = json.loads(keep.read_text()) if keep is not None and keep.exists() else {}
    with _trials(model, path, original, size) as trials:
        if model.title in before:
            trials.go_on(before[model.title])
        done, longest = 0, 0.0
        while done < ROUNDS and (not done or time.monotonic() + longest < until):
            if size is QUICK and done:
                break
            started = time.monotonic()
            trials.round()
            done, longest = done + 1, max(longest, time.monotonic() - started)
        trials.memory()
        if keep is not None:
            keep.write_text(json.dumps(before | {model.title: trials.kept()}))
    rounds = f"{trials.rounds} round{'s' * (trials.rounds > 1)}"
    print(f"\n### {model.title}: {rounds}\n\n{table(list(trials.rows.values()))}\n")
    print("\n".join(f"- {line}" for line in trials.remarks()), flush=True)


@contextlib.contextmanager
def _trials(model: Model, path: Path, original: Path, size: Size) -> Iterator[Trials]:
    """Both servers and the bare engines, warm; all gone after the block."""
    with tempfile.TemporaryDirectory(prefix="voxraga-bench-") as scratch:
        logs = Path(scratch)
        bare: list[Bare] = []
        ours = Ours(path, model.voice, model.rate, logs / "voxraga.log")
        theirs = Theirs(original, model.voice, model.rate, logs / "tts-server.log")
        try:
            bare += [Bare(path, logs / f"bare-{i}.log") for i in range(machine.cores())]
            with running([ours, theirs]):
                trials = Trials(ours, theirs, bare, size, (model.short,))
                trials.prepare()
                yield trials
                for server in (ours, theirs):
                    alive(server)
        finally:
            for engine in bare:
                stop(engine.process)


if __name__ == "__main__":
    sys.exit(main())
