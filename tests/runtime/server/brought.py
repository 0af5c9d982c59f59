"""Models in an uploads folder, put there as an upload publishes them but without one."""

from pathlib import Path

from tests.runtime.store import bundles
from voxraga_runtime.store import manifest
from voxraga_runtime.store.manifest import ModelInfo
from voxraga_runtime.store.uploads import Uploads

INFO = ModelInfo(name="brought", architecture="vits", sample_rate=16000, languages=["en"], voices=["low", "high"])


def publish(
    uploads: Uploads, name: str, files: dict[str, bytes], info: ModelInfo = INFO, *, replace: bool = False
) -> Path:
    """Make `files` the model of that name."""
    uploads.prepare()
    with uploads.workspace() as folder:
        bundle = folder / "bundle"
        bundles.write(bundle / manifest.FILES, files)
        source: dict[str, object] = {"upload": {"name": name}}
        content = manifest.make(bundle / manifest.FILES, key=name, source=source, revision="", model=info)
        return uploads.publish(name, bundle, content, replace=replace)


def publish_bundle(uploads: Uploads, name: str, bundle: Path, info: ModelInfo = INFO, *, replace: bool = False) -> Path:
    """Publish a copy of a tiny model of `models`."""
    files = {path.relative_to(bundle / "files").as_posix(): path for path in (bundle / "files").rglob("*")}
    content = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    return publish(uploads, name, content, info, replace=replace)


def archive_of(bundle: Path) -> bytes:
    """A zip of a tiny model's files."""
    files = (bundle / "files").rglob("*")
    return bundles.archive({p.relative_to(bundle / "files").as_posix(): p.read_bytes() for p in files if p.is_file()})
