"""The images that the cluster itself runs and the tests' busybox, made from our binaries and put into containerd."""

from collections.abc import Collection
from pathlib import Path

from tests.cluster import binaries, ociimage
from tests.cluster.containerd import PAUSE, Containerd
from tests.cluster.ociimage import Image

BUSYBOX = "localhost/voxraga/busybox:dev"
_OPTIONAL = ("metrics-server",)


def images(extras: Collection[str] = ()) -> list[Image]:
    names = ["coredns", "local-path-provisioner", *(name for name in _OPTIONAL if name in extras)]
    return [_pause(), _busybox(), *(_program(name) for name in names)]


def load(containerd: Containerd, extras: Collection[str] = ()) -> None:
    """Import what is not there yet in exactly this form."""
    present = containerd.images()
    for image in images(extras):
        archive = ociimage.build(image)
        if present.get(image.name) != archive.digest:
            containerd.import_tar(archive.tar())


def _program(name: str) -> Image:
    return Image(f"localhost/voxraga/{name}:dev", {name: binaries.path(name)}, [f"/{name}"])


def _busybox() -> Image:
    busybox = Path("/bin/busybox")
    return Image(BUSYBOX, {"bin/busybox": busybox}, ["/bin/sh"], links=ociimage.busybox_links(busybox))


def _pause() -> Image:
    """What holds a pod's namespaces: a sleep for ever does, and needs no compiler to be made."""
    busybox = Path("/bin/busybox")
    return Image(PAUSE, {"bin/busybox": busybox}, ["/bin/busybox", "sleep", "2147483647"], user="65535:65535")
