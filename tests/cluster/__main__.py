"""The command `python -m tests.cluster`: build, up, images, load, status, kubeconfig, down."""

import argparse
import os
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.cluster import binaries, controlplane, images, node, paths, prerequisites, processes, providers, teardown
from tests.cluster.layout import Layout
from tests.cluster.processes import Table
from tests.cluster.progress import step


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.state:
        os.environ["VOXRAGA_CLUSTER_DIR"] = str(arguments.state.absolute())
    if arguments.name:
        os.environ["VOXRAGA_CLUSTER_DIR"] = str(paths.state().with_name(f"{paths.state().name}-{arguments.name}"))
    try:
        return int(COMMANDS[arguments.command](arguments) or 0)
    except (RuntimeError, TimeoutError) as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("what", nargs="*", help="images to build or load (operator, runtime-cpu, runtime-gpu)")
    parser.add_argument("--tier", choices=["node", "controlplane"], default="node")
    parser.add_argument(
        "--with", dest="extras", default="", help=f"add-ons, comma-separated: {', '.join(node.OPTIONAL)}"
    )
    parser.add_argument("--name", help="a cluster beside the usual one")
    parser.add_argument("--state", type=Path, help="the state directory (VOXRAGA_CLUSTER_DIR)")
    parser.add_argument("--purge", action="store_true", help="down: remove the cluster's cached images too")
    parser.add_argument("--provider", help="node (default) or kind")
    parser.add_argument("--context", help="a cluster that you have, by its kubeconfig context")
    return parser


def _extras(arguments: argparse.Namespace) -> list[str]:
    extras = [extra for extra in arguments.extras.split(",") if extra]
    if unknown := set(extras) - set(node.OPTIONAL):
        raise RuntimeError(f"unknown add-ons: {', '.join(sorted(unknown))}; there are {', '.join(node.OPTIONAL)}")
    return extras


def _up(arguments: argparse.Namespace) -> None:
    if arguments.tier == "controlplane":
        print(f"export KUBECONFIG={_controlplane_up()}")
        return
    access = providers.find(arguments.provider, arguments.context).up(_extras(arguments))
    if access.kubeconfig:
        print(f"export KUBECONFIG={access.kubeconfig}")


def _controlplane_up() -> Path:
    """The control plane in the state directory; a second `up` finds the first."""
    prerequisites.require("controlplane")
    binaries.ensure(binaries.CONTROLPLANE)
    directory = _controlplane_directory()
    every = Table(directory / "processes.jsonl").all()
    if not every or not all(processes.alive(process) for process in every):
        controlplane.stop(directory)
        directory.mkdir(parents=True)
        with step("start the control plane"):
            controlplane.launch(directory, scheduler=True)
    return directory / "kubeconfig"


def _controlplane_directory() -> Path:
    return paths.state().with_name(f"{paths.state().name}-controlplane")


def _down(arguments: argparse.Namespace) -> None:
    controlplane.stop(_controlplane_directory())
    provider = providers.find(arguments.provider, arguments.context)
    if isinstance(provider, providers.OwnNode):
        node.down(purge=arguments.purge)
    else:
        provider.down()


def _build(arguments: argparse.Namespace) -> None:
    """Everything that a cold machine needs, side by side: compiling fills the cores while images download."""
    prerequisites.require("node")
    prerequisites.require("images")
    with ThreadPoolExecutor(max_workers=2) as pool:
        tools = pool.submit(binaries.ensure, (*binaries.NODE, *node.OPTIONAL))
        pool.submit(images.build, _images(arguments)).result()
        tools.result()


def _images(arguments: argparse.Namespace) -> Collection[str]:
    if unknown := set(arguments.what) - set(images.IMAGES):
        raise RuntimeError(f"unknown images: {', '.join(sorted(unknown))}; there are {', '.join(images.IMAGES)}")
    return arguments.what or images.USUAL


def _make_images(arguments: argparse.Namespace) -> None:
    prerequisites.require("images")
    print("\n".join(images.build(_images(arguments))))


def _load(arguments: argparse.Namespace) -> None:
    tags = [images.IMAGES[name].tag for name in _images(arguments)]
    names = providers.find(arguments.provider, arguments.context).load(tags)
    print("\n".join(names.values()))


def _status(_: argparse.Namespace) -> int:
    layout = Layout(paths.state())
    cluster = node.running(layout)
    print(f"node: {'up, KUBECONFIG=' + str(cluster.kubeconfig) if cluster else 'down'}")
    for process in layout.table.all():
        print(f"  {process.name:<25}{process.pid:>8}  {'running' if processes.alive(process) else 'ENDED'}")
    if not cluster:
        print("".join(f"  left over: {what}\n" for what in teardown.leftovers(layout)), end="")
    for process in (plane := Table(_controlplane_directory() / "processes.jsonl").all()):
        print(
            f"  controlplane {process.name:<25}{process.pid:>8}  {'running' if processes.alive(process) else 'ENDED'}"
        )
    return 0 if cluster or plane else 1


def _kubeconfig(_: argparse.Namespace) -> int:
    for file in (Layout(paths.state()).kubeconfig, _controlplane_directory() / "kubeconfig"):
        if file.exists():
            print(file)
            return 0
    print("there is no cluster: python -m tests.cluster up", file=sys.stderr)
    return 1


COMMANDS = {
    "build": _build,
    "up": _up,
    "images": _make_images,
    "load": _load,
    "status": _status,
    "kubeconfig": _kubeconfig,
    "down": _down,
}

if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
