"""`voxraga bench`: its options, a first request that finds what is wrong, the run, and what is printed."""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from voxraga_operator.cli.bench import report, sentences
from voxraga_operator.cli.bench.ask import Client, Failed, Target, endpoint
from voxraga_operator.cli.bench.figures import Figures, figures
from voxraga_operator.cli.bench.load import Load
from voxraga_operator.cli.failure import AGAIN, Failure

_FORMATS = ("pcm", "wav", "mp3", "opus", "aac", "flac")
_SECONDS, _DAY = 30.0, 86_400
_MOST_CLIENTS = 1000
"""Each is a thread."""
_MOST_REQUESTS = 1_000_000


def add_parser(commands: Any) -> None:
    """The options; `commands` is what argparse's add_subparsers gives."""
    parser = commands.add_parser("bench", help="measure a server with OpenAI's /v1/audio/speech, ours or another")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the server's address (default: %(default)s)")
    parser.add_argument(
        "--clients", type=_count(_MOST_CLIENTS), default=4, help="callers beside each other (default: 4)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=_seconds, help="how long requests are sent (default: 30)")
    length.add_argument(
        "--requests", type=_count(_MOST_REQUESTS), metavar="N", help="how many are sent, instead of how long"
    )
    parser.add_argument("--text", type=Path, metavar="FILE", help="texts, one a line (default: own English sentences)")
    parser.add_argument("--voice", default="alloy", help="default: alloy, which every server of that API knows")
    parser.add_argument("--model", default="tts-1", help="default: tts-1, likewise")
    parser.add_argument("--format", choices=_FORMATS, default="pcm", help="default: pcm; pcm and wav tell their length")
    parser.add_argument("--key-file", type=Path, metavar="PATH", help="file whose first line is the API key")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure and print. Returns 0 where anything was spoken, whether or not the targets are met, else 1."""
    fields = {"model": options.model, "voice": options.voice, "response_format": options.format}
    target = Target(url=endpoint(options.url), fields=fields, key=_key(options.key_file))
    given = _lines(options.text) if options.text else None
    texts = itertools.cycle(given) if given else sentences.own()
    _try(target, texts)
    seconds = None if options.requests else options.seconds or _SECONDS
    load = Load(target, texts, clients=options.clients, seconds=seconds, requests=options.requests)
    outcomes, elapsed = load.run()
    if load.interrupted:
        say("interrupted: what was measured until then")
    if not outcomes:
        raise Failure("nothing was measured: no request had ended", AGAIN)
    found = figures(outcomes, elapsed)
    made = report.Run(url=target.url, clients=options.clients, format=options.format, figures=found)
    sys.stdout.write((report.as_json(made) if options.json else report.as_table(made)) + "\n")
    if given and found.requests > len(given):
        say(f"{options.text} has {len(given)} lines for {found.requests} requests: the server may have kept answers")
    return _code(found)


def _code(found: Figures) -> int:
    return 0 if found.spoken else AGAIN


def _try(target: Target, texts: Iterator[str]) -> None:
    """One request that isn't counted: a server that can't be reached, or refuses such requests, is told at once."""
    client = Client(target)
    try:
        outcome = client.ask(next(texts))
    except KeyboardInterrupt:
        raise Failure("nothing was measured: interrupted in the first request", AGAIN) from None
    finally:
        client.close()
    if isinstance(outcome, Failed):
        raise Failure(f"{target.url}: the first request failed: {outcome.why}", AGAIN)


def _key(path: Path | None) -> str | None:
    if path is None:
        return None
    lines = _lines(path, option="--key-file")
    if not all("!" <= letter <= "~" for letter in lines[0]):
        raise Failure(f"--key-file {path}: its first line is no key: it has blanks or letters that no header can hold")
    return lines[0]


def _lines(path: Path, *, option: str = "--text") -> list[str]:
    """The lines of a file that aren't blank; there is one at least."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Failure(f"{option} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"{option} {path}: it is no UTF-8 text") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise Failure(f"{option} {path}: there is nothing in it")
    return lines


def _count(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {most}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _DAY:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds: more than 0, up to {_DAY}")
    return seconds
