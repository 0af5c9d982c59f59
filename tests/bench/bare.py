"""The engine without a server: `python -m tests.bench.bare FOLDER` speaks what stdin asks for, and times it.

A line in: {"texts": [[sentence, …], …], "threads": n, "cores": n}: threads inside its operations, and cores that make
what comes next. A line out: {"wall", "words", "seconds": [of each text]}, where
`words` is the part of the wall time that goes into letters and phonemes.
"""

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from tests.bench.servers import BenchError, environment


class Bare:
    """The other end: a process with the engine in it."""

    def __init__(self, model: Path, log: Path) -> None:
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.bare", str(model)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=environment({}),
                start_new_session=True,
            )
        self._log = log

    def begin(self, texts: list[tuple[str, ...]], threads: int = 1, cores: int = 1) -> None:
        assert self.process.stdin is not None
        asked = {"texts": texts, "threads": threads, "cores": cores}
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"the bare engine ended:\n{self._log.read_text(errors='replace')[-2000:]}")
        return cast("dict[str, Any]", json.loads(line))

    def run(self, texts: list[tuple[str, ...]], threads: int, cores: int) -> dict[str, Any]:
        self.begin(texts, threads, cores)
        return self.end()


def main(folder: Path) -> None:
    """Load, then answer lines until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever the libraries print goes elsewhere
    import torch  # noqa: PLC0415 - prints, perhaps

    from voxraga_runtime.server.engines.ahead import Cores  # noqa: PLC0415
    from voxraga_runtime.server.engines.base import Utterance  # noqa: PLC0415
    from voxraga_runtime.server.engines.coqui import CoquiEngine  # noqa: PLC0415

    engine = CoquiEngine(folder)
    engine.load()
    shared: dict[int, Cores] = {}
    voice = engine.voices()[0].id
    tokenizer = engine._model.tokenizer
    make = tokenizer.text_to_ids
    spent = 0.0

    def timed(*arguments: Any, **named: Any) -> Any:
        nonlocal spent
        started = time.perf_counter()
        tokens = make(*arguments, **named)
        spent += time.perf_counter() - started
        return tokens

    tokenizer.text_to_ids = timed
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        cores = asked["cores"]
        engine._cores = shared.setdefault(cores, Cores(cores, functools.partial(torch.set_num_threads, 1)))
        spent = 0.0
        started = time.perf_counter()
        seconds = []
        for sentences in asked["texts"]:
            chunks = engine.synthesize(Utterance(tuple(sentences), voice), lambda: False)
            seconds.append(sum(len(c.samples) for c in chunks) / engine.sample_rate)
        wall = time.perf_counter() - started
        answers.write(json.dumps({"wall": wall, "words": spent, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
