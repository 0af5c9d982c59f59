"""What the demo voice's figures are: which of a closed list of sentences does it say, beside flite and espeak-ng.

    python -m voice.evaluate VOICE [--power 1.0 1.2 1.5]

VOICE holds model.pth and config.json (export.py's output). Prints one row for each speaker and exponent.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.speech import judge, reference
from tests.speech.audio import Mono
from tests.speech.sentences import HARVARD, MORE_HARVARD, RHYMES
from voxraga_runtime.server.engines.base import Utterance
from voxraga_runtime.server.engines.coqui import CoquiEngine

Say = Callable[[str], tuple[Mono, int]]
AMONG_RHYMES = [(said, [said, rival]) for pair in RHYMES for said, rival in (pair, pair[::-1])]


def right(say: Say, trials: list[tuple[str, list[str]]]) -> int:
    """How many sentences are told apart from their rivals."""
    named = judge.named_each([say(said) for said, _ in trials], [candidates for _, candidates in trials])
    return sum(name == said for name, (said, _) in zip(named, trials, strict=True))


def row(name: str, say: Say) -> str:
    """One voice's figures as a row of a Markdown table."""
    harvard, more = ([(said, texts) for said in texts] for texts in (HARVARD, MORE_HARVARD))
    score = np.mean([judge.rank(*say(text), [text])[0][0] for text in HARVARD])
    return (
        f"| {name} | {right(say, harvard)}/20 | {right(say, AMONG_RHYMES)}/20 | {right(say, more)}/20 | {score:.2f} |"
    )


def speakers(voice: Path, power: float) -> dict[str, Say]:
    """Each speaker of an exported voice, with `audio.power` set."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        shutil.copytree(voice, files)
        config = json.loads((files / "config.json").read_text())
        config["audio"]["power"] = power
        (files / "config.json").write_text(json.dumps(config))
        engine = CoquiEngine(Path(folder))
        engine.load()

    def say(speaker: str, text: str) -> tuple[Mono, int]:
        chunks = engine.synthesize(Utterance((f"{text}.",), speaker), lambda: False)
        return np.concatenate([c.samples for c in chunks]), engine.sample_rate

    return {v.id: lambda text, speaker=v.id: say(speaker, text) for v in engine.voices()}  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("voice", type=Path)
    parser.add_argument("--power", type=float, nargs="*")
    arguments = parser.parse_args()
    own = json.loads((arguments.voice / "config.json").read_text())["audio"]["power"]
    print("| voice | 20 Harvard sentences | 20 rhymes | 20 other sentences | mean score |\n|---|---|---|---|---|")
    for power in arguments.power or [own]:
        for name, say in speakers(arguments.voice, power).items():
            print(row(f"demo {name}, power {power}", say), flush=True)
    for name in reference.VOICES:
        print(row(name, lambda text, name=name: reference.say(name, f"{text}.")), flush=True)  # type: ignore[misc]


if __name__ == "__main__":
    main()
