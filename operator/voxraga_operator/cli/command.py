"""The command line of `voxraga`: serve a VoiceModel on this machine, print a cluster's objects, measure a server."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from voxraga_operator import settings as operator_settings
from voxraga_operator.cli import address, document, schema
from voxraga_operator.cli.bench import command as bench
from voxraga_operator.cli.containers import Folders
from voxraga_operator.cli.failure import Failure
from voxraga_operator.cli.left_out import left_out
from voxraga_operator.cli.planned import Planned, planned
from voxraga_operator.cli.serve import say, serve
from voxraga_operator.settings import SettingsError

_LAST_PORT = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 where starting again may help, 2 where somebody has to act."""
    options = _parser().parse_args(arguments)
    commands = {"serve": _serve, "plan": _plan, "bench": _bench}
    try:
        return commands[options.command](options)
    except Failure as failure:
        say(str(failure))
        return failure.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voxraga", description="VoiceModels without a cluster.")
    commands = parser.add_subparsers(dest="command", required=True)

    serving = commands.add_parser("serve", help="fetch and serve a VoiceModel on this machine")
    _add_file(serving)
    serving.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    serving.add_argument("--port", type=_port, default=8080, help="default: 8080; 0 takes a free one")
    serving.add_argument(
        "--store", type=Path, metavar="DIR", help="default: voxraga/NAMESPACE/NAME in the user's data folder"
    )
    serving.add_argument(
        "--api-keys", type=Path, metavar="PATH", help="file or folder of keys, in place of spec.access.apiKeys' Secret"
    )
    _add_named(serving, "--claim", "the folder that stands for the claim of spec.source.persistentVolumeClaim")
    _add_named(serving, "--secret", "the folder that stands for a Secret: each key is a file")
    _add_named(serving, "--config-map", "the folder that stands for a ConfigMap: each key is a file")

    planning = commands.add_parser("plan", help="print the objects that a cluster would get for a VoiceModel")
    _add_file(planning)
    bench.add_parser(commands)
    return parser


def _add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--file", required=True, help="YAML file with a VoiceModel; - for standard input")
    parser.add_argument("--name", help="which VoiceModel, where the file holds several")


def _add_named(parser: argparse.ArgumentParser, option: str, told: str) -> None:
    parser.add_argument(
        option, type=_named, action="append", default=[], metavar="NAME=DIR", help=f"{told}; repeatable"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to {_LAST_PORT}")
    return int(text)


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=DIR")
    return name, Path(folder).absolute()


def _serve(options: argparse.Namespace) -> int:
    made, given = _read(options)
    for line in left_out(given):
        say(f"left out: {line}")
    folders = Folders(
        store=(options.store or _data_folder(os.environ, made)).absolute(),
        api_keys=_api_keys(options.api_keys, made),
        claims=dict(options.claim),
        secrets=dict(options.secret),
        config_maps=dict(options.config_map),
    )
    return serve(made, folders, _address(options, made))


def _api_keys(given: Path | None, made: Planned) -> Path | None:
    if given is None:
        return None
    if not made.model.spec.access.api_keys:
        raise Failure(f"--api-keys {given}: the VoiceModel asks for no keys; set spec.access.apiKeys.secretName in it")
    if not os.access(given, os.R_OK):
        raise Failure(f"--api-keys {given}: there is no such file or folder, or it can't be read")
    return given.absolute()


def _address(options: argparse.Namespace, made: Planned) -> address.Address:
    """Where the server listens; each of its ports is free. Others may only reach it as the VoiceModel allows it."""
    found = address.free(options.host, options.port)
    wyoming = made.model.spec.serving.wyoming
    if wyoming.enabled:
        address.free(options.host, wyoming.port, remedy="choose another by spec.serving.wyoming.port")
    if found.public and made.model.spec.access.api_keys and options.api_keys is None:
        raise Failure(
            f"spec.access.apiKeys asks for keys, and --host {options.host} lets others reach the server:"
            " give a file or folder of keys by --api-keys PATH"
        )
    return found


def _plan(options: argparse.Namespace) -> int:
    made, _ = _read(options)
    # The same parts stand in several places; written out each time, since kubectl and people read it.
    sys.stdout.write(yaml.dump_all(made.objects, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True))
    return 0


def _bench(options: argparse.Namespace) -> int:
    return bench.run(options, say)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _read(options: argparse.Namespace) -> tuple[Planned, document.Document]:
    """What is planned for the file's VoiceModel, and the VoiceModel as the file has it."""
    given, others = document.read(options.file, options.name)
    admitted = schema.admit(given)
    if admitted.mistakes:
        raise Failure("\n  ".join([f"{options.file}: a cluster would refuse this VoiceModel:", *admitted.mistakes]))
    for other in others:
        say(f"left out: {other} of {options.file}")
    for rule in admitted.unchecked:
        say(f"not checked without a cluster: {rule}")
    try:
        settings = operator_settings.from_env()
    except SettingsError as error:
        raise Failure(str(error)) from None
    return planned(admitted.document, settings), given


def _data_folder(environ: Mapping[str, str], made: Planned) -> Path:
    """Where a user's data belongs (XDG), apart for each VoiceModel as claims are."""
    base = Path(environ.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".local" / "share"
        except RuntimeError:
            raise Failure("there is no home folder to keep the store in: name one by --store DIR") from None
    metadata = made.model.metadata
    return base / "voxraga" / metadata.namespace / metadata.name
