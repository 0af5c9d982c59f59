"""Source `http`: files by URL, each with an optional sha256."""

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.listing import Listing, Remote, bundle_path, is_archive
from voxraga_runtime.store.settings import Http, HttpFile, Settings

from . import secret


def resolve(source: Http, settings: Settings) -> Listing:
    """The files as they stand in the spec; nothing is asked of the network. Raises StoreError for a bad path."""
    headers = secret.headers(settings.secret_path)
    files = tuple(_remote(file, index, headers) for index, file in enumerate(source.files))
    paths = [file.path for file in files if not file.unpack]
    if twice := {path for path in paths if paths.count(path) > 1}:
        raise StoreError("InvalidModel", f"spec.source.http.files: {sorted(twice)} is named more than once")
    host = urlsplit(files[0].url).hostname or ""
    return Listing(name=host, files=files)


def _remote(file: HttpFile, index: int, headers: dict[str, str]) -> Remote:
    where = f"spec.source.http.files[{index}]"
    path = file.path or PurePosixPath(unquote(urlsplit(file.url).path)).name
    if not path:
        raise StoreError("InvalidModel", f"{where}: the URL has no file name; set {where}.path")
    bundle_path(path, where)
    sha256 = file.sha256.lower() if file.sha256 else None
    if is_archive(path):
        folder = str(PurePosixPath(path).parent)
        return Remote("" if folder == "." else folder, file.url, sha256=sha256, unpack=True, headers=headers)
    return Remote(path, file.url, sha256=sha256, headers=headers)
