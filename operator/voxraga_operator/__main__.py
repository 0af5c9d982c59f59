"""The command `voxraga-operator`: run it, or print what installs it."""

import argparse
import asyncio
import dataclasses
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from voxraga_operator import settings as operator_settings
from voxraga_operator.api import crd
from voxraga_operator.settings import OperatorSettings, SettingsError

_USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    commands = {"run": _run, "crds": _crds, "manifests": _manifests}
    return commands[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voxraga-operator", description="Serves VoiceModels on Kubernetes.")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="reconcile VoiceModels until told to stop")
    run.add_argument(
        "--namespace",
        action="append",
        metavar="NAME",
        help="look after this namespace only (repeatable); 'all', the default, for every one",
    )
    run.add_argument("--no-leader-election", action="store_true", help="only where no second process can be running")
    run.add_argument("--kubeconfig", metavar="FILE", help="default: the pod's service account, else $KUBECONFIG")

    crds = commands.add_parser("crds", help="print the CustomResourceDefinitions")
    crds.add_argument("--check", metavar="FILE", type=Path, help="exit 1 where the file differs from what is printed")

    commands.add_parser("manifests", help="print what installs the operator: CRDs, rights, Deployment")
    return parser


def _run(options: argparse.Namespace) -> int:
    # Not at the top: printing a CRD needs neither the informer nor the API client, which take a second to import.
    from voxraga_operator import app, logs  # noqa: PLC0415

    try:
        settings = _with_options(operator_settings.from_env(), options)
    except SettingsError as error:
        print(f"voxraga-operator: {error}", file=sys.stderr)
        return _USAGE_ERROR
    logs.configure(settings.log_level)
    return asyncio.run(app.main(settings, options.kubeconfig))


def _with_options(settings: OperatorSettings, options: argparse.Namespace) -> OperatorSettings:
    if options.namespace:
        names = () if "all" in options.namespace else tuple(options.namespace)
        settings = dataclasses.replace(settings, watch_namespaces=names)
    if options.no_leader_election:
        settings = dataclasses.replace(settings, leader_election=False)
    return settings


def _crds(options: argparse.Namespace) -> int:
    rendered = crd.render()
    if options.check is None:
        print(rendered, end="")
        return 0
    committed = options.check.read_text(encoding="utf-8")
    difference = list(
        difflib.unified_diff(
            committed.splitlines(), rendered.splitlines(), str(options.check), "generated", lineterm=""
        )
    )
    print("\n".join(difference), file=sys.stderr) if difference else None
    return 1 if difference else 0


def _manifests(_: argparse.Namespace) -> int:
    folder = _manifest_folder()
    if folder is None:
        print("voxraga-operator: the manifests are not part of this installation", file=sys.stderr)
        return 1
    documents = [crd.render(), *(path.read_text(encoding="utf-8") for path in sorted(folder.glob("[!k]*.yaml")))]
    print("\n---\n".join(document.strip().removeprefix("---").strip() for document in documents))
    return 0


def _manifest_folder() -> Path | None:
    """Beside the package in an image, in the repository otherwise."""
    here = Path(__file__).resolve().parent
    candidates = (here / "_manifests", here.parents[1] / "manifests" / "base")
    return next((folder for folder in candidates if folder.is_dir()), None)


if __name__ == "__main__":
    sys.exit(main())
