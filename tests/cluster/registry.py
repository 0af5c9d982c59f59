"""A registry inside the node's network: the way of our images to containerd, because it moves changed layers only.

Its data is a cache, like containerd's: `localhost/voxraga/NAME:TAG` is voxraga/NAME:TAG in it.
"""

import subprocess
from pathlib import Path

import yaml

from tests.cluster import binaries, paths
from tests.cluster.apiserver import Command
from tests.cluster.layout import REGISTRY_PORT, Layout

_ADDRESS = f"127.0.0.1:{REGISTRY_PORT}"


def hosts(layout: Layout) -> Path:
    return layout.directory / "registries"


def data(layout: Layout) -> Path:
    return paths.cache() / "registry" / layout.label


def prepare(layout: Layout) -> None:
    """Tell containerd where images of the host `localhost` come from."""
    folder = hosts(layout) / "localhost"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(f'server = "http://{_ADDRESS}"\n')


def command(layout: Layout) -> Command:
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(data(layout))}},
        "http": {"addr": _ADDRESS},
    }
    file = layout.directory / "registry.yaml"
    file.write_text(yaml.safe_dump(config))
    return [binaries.path("registry"), "serve", file]


def push(layout: Layout, image: str) -> None:
    """From buildah's storage to the registry: what is there already is not sent again."""
    target = f"docker://{_ADDRESS}/{image.removeprefix('localhost/')}"
    # zstd at its fastest costs a quarter of gzip's time; uncompressed, buildah 1.28 pushes only to directories.
    compression = ["--compression-format", "zstd", "--compression-level", "1"]
    buildah = ["buildah", "push", "--quiet", "--tls-verify=false", "--format", "oci", *compression, image, target]
    done = subprocess.run([*layout.network.enter, *buildah], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"buildah push {image}: {done.stderr.strip()}")


def pull(layout: Layout, image: str) -> None:
    """Into containerd, unpacked: the kubelet then finds it as present."""
    layout.containerd.ctr("images", "pull", "--hosts-dir", str(hosts(layout)), image)
