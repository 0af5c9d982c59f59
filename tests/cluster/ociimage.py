"""Make the small images by hand: one static program on nothing. No builder, and the same bytes every time."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Image:
    """Files (path in the image, file of this machine), symbolic links (path, target) and what to run."""

    name: str
    files: Mapping[str, Path]
    entrypoint: Sequence[str]
    links: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ("tmp",)
    user: str = ""


@dataclass(frozen=True)
class Archive:
    """An image as blobs by digest, and the digest of its manifest, by which an engine knows it."""

    name: str
    digest: str
    size: int
    blobs: Mapping[str, bytes]

    def tar(self) -> bytes:
        """The OCI image layout, as a tar."""
        entry = {
            "mediaType": _MANIFEST,
            "digest": self.digest,
            "size": self.size,
            "annotations": {"io.containerd.image.name": self.name},
        }
        index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            _add(tar, "index.json", index)
            for digest, blob in self.blobs.items():
                _add(tar, f"blobs/sha256/{digest}", blob)
        return output.getvalue()


def busybox_links(busybox: Path) -> dict[str, str]:
    """All commands of a busybox, as links to it."""
    names = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    return {f"bin/{name}": "busybox" for name in names if name != "busybox"}


def build(image: Image) -> Archive:
    layer = _layer(image)
    layer_digest = _digest(layer)
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(image.entrypoint), "User": image.user, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    ).encode()
    blobs = {_digest(blob): blob for blob in (layer, config, manifest)}
    return Archive(image.name, f"sha256:{_digest(manifest)}", len(manifest), blobs)


def _layer(image: Image) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for folder in image.folders:
            tar.addfile(_info(folder, tarfile.DIRTYPE, 0o1777))
        for path, file in image.files.items():
            _add(tar, path, file.read_bytes(), mode=0o755)
        for path, target in sorted(image.links.items()):
            info = _info(path, tarfile.SYMTYPE, 0o777)
            info.linkname = target
            tar.addfile(info)
    return output.getvalue()


def _info(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = kind, mode
    return info


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    info = _info(path, tarfile.REGTYPE, mode)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _descriptor(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{_digest(blob)}", "size": len(blob)}
