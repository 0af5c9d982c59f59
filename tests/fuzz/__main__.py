"""`python -m tests.fuzz [TARGET …] --seconds N` (make fuzz): strange bytes, made by what code they reach.

Needs the dependency group `fuzz`. What is found lies in tests/fuzz/finds/TARGET and is a test from then on.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from tests.fuzz import FINDS

MEMORY = 3000  # MiB of one target's process
SLOWEST = 20  # seconds for one input
LARGEST = 8192  # bytes of an input


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2], sys.argv[3:])
    from tests.fuzz.finds import inputs  # noqa: PLC0415 - in the other process it would come before the instruments

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(inputs())} (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(inputs()):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(inputs())}")
    return max(_fuzz(name, inputs()[name], arguments.seconds) for name in arguments.targets or inputs())


def _one(name: str, arguments: list[str]) -> NoReturn:
    """This process, with this target and libFuzzer's own arguments, until its time is over."""
    import atheris  # noqa: PLC0415 - only in the group `fuzz`

    with atheris.instrument_imports(include=["voxraga_runtime", "zipfile", "tarfile", "pickletools", "json"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented
    atheris.Setup(["fuzz", *arguments], TARGETS[name])
    atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")


def _fuzz(name: str, known: list[bytes], seconds: int) -> int:
    """One target in a process of its own; returns 1 for a find, whose last words are printed."""
    finds = FINDS / name
    finds.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", f"-timeout={SLOWEST}", f"-max_len={LARGEST}"]
    limits += [f"-artifact_prefix={finds}/", "-print_final_stats=1", "-verbosity=0"]
    with tempfile.TemporaryDirectory(prefix="voxraga-corpus-") as corpus:
        for number, data in enumerate(known):
            (Path(corpus) / str(number)).write_bytes(data)
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, corpus, *limits]
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        grown = len(list(Path(corpus).iterdir()))
    if not any(finds.iterdir()):
        finds.rmdir()
    runs = next((line.split()[-1] for line in ran.stderr.splitlines() if "number_of_executed_units" in line), "?")
    print(f"{name}: {runs} inputs, {grown} of them each a new way, {'a find' if ran.returncode else 'nothing found'}")
    if ran.returncode:
        print(ran.stdout[-2000:] + ran.stderr[-4000:])
    sys.stdout.flush()
    return 1 if ran.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
