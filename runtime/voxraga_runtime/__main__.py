"""The command `voxraga-runtime`: `fetch` fills the model store, `serve` speaks over HTTP."""

import argparse
import sys


def main() -> int:
    """Run the command named on the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="voxraga-runtime", description="Fetch and serve text-to-speech models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{fetch,serve}")
    commands.add_parser("fetch", help="download, check and publish a model into the store")
    commands.add_parser("serve", help="serve one model of the store over HTTP")
    return _fetch() if parser.parse_args().command == "fetch" else _serve()


def _fetch() -> int:
    from voxraga_runtime.store.fetch import main as fetch  # noqa: PLC0415  # each command loads its own half only

    return fetch()


def _serve() -> int:
    from voxraga_runtime.server.main import main as serve  # noqa: PLC0415  # torch and coqui-tts: not for fetch

    return int(serve() or 0)


if __name__ == "__main__":
    sys.exit(main())
