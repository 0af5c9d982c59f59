"""Source `huggingFace`: a repository at a revision, by the hub's HTTP API; large files are verified by their sha256."""

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.http import Http
from voxraga_runtime.store.listing import Listing, Remote, bundle_path
from voxraga_runtime.store.settings import HuggingFace, Settings

from . import secret

NEVER_NEEDED = (
    "*.onnx",
    "*.safetensors",
    "*.bin",
    "*.h5",
    "*.msgpack",
    "*.ckpt",
    "*.wav",
    "*.mp3",
    "*.flac",
    "*.ipynb",
)
"""What coqui-tts never reads; a repository often holds gigabytes of it. `include` brings a file back."""
VOICE = re.compile(r"(.*/)?voices/[^/]+/[^/]+\.(wav|flac|ogg|mp3)")
"""Recordings that a model that clones speaks as."""
MAX_PAGES = 100


def resolve(source: HuggingFace, settings: Settings, http: Http) -> Listing:
    """List the repository at the commit that `revision` stands for now. Raises StoreError with a Source… reason."""
    headers = secret.headers(settings.secret_path, basic=False)
    endpoint = settings.hf_endpoint.rstrip("/")
    api = f"{endpoint}/api/models/{source.repo}"
    info, _ = http.json(f"{api}/revision/{quote(source.revision, safe='')}", headers)
    commit = str(info.get("sha") or source.revision) if isinstance(info, dict) else source.revision
    files = tuple(
        _remote(entry, f"{endpoint}/{source.repo}/resolve/{commit}", headers)
        for entry in _tree(http, f"{api}/tree/{commit}?recursive=true", headers)
        if wanted(str(entry.get("path", "")), source.include, source.exclude)
    )
    if not files:
        raise StoreError("SourceNotFound", f"{source.repo} at {commit} holds no file that include and exclude select")
    return Listing(name=source.repo, files=files, revision=commit, license=_license(info))


def wanted(path: str, include: list[str], exclude: list[str]) -> bool:
    """Whether a path of the repository belongs to the bundle: globs as in coqui's catalogue, exclusion wins."""
    if any(part.startswith(".") for part in PurePosixPath(path).parts[-1:]) or _any(path, exclude):
        return False
    return _any(path, include) if include else VOICE.fullmatch(path) is not None or not _any(path, list(NEVER_NEEDED))


def _any(path: str, globs: list[str]) -> bool:
    return any(fnmatchcase(path, glob) for glob in globs)


def _tree(http: Http, url: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for _ in range(MAX_PAGES):
        page, response = http.json(url, headers)
        if not isinstance(page, list):
            raise StoreError("SourceUnreachable", f"{url} did not answer with a list of files")
        entries += [entry for entry in page if isinstance(entry, dict) and entry.get("type") == "file"]
        following = _next(response)
        if following is None:
            return entries
        url = following
    raise StoreError("InvalidModel", f"the repository has more than {MAX_PAGES} pages of files; name a smaller one")


def _next(response: httpx.Response) -> str | None:
    link = response.links.get("next", {}).get("url")
    if not link:
        return None
    following = response.url.join(link)
    # the token goes along: only to the hub that was named
    if (following.host, following.port) != (response.url.host, response.url.port):
        raise StoreError("SourceUnreachable", f"{response.url.host} continues its list of files at {following.host}")
    return str(following)


def _remote(entry: dict[str, Any], base: str, headers: dict[str, str]) -> Remote:
    path = bundle_path(str(entry["path"]), "the repository")
    lfs = entry.get("lfs") if isinstance(entry.get("lfs"), dict) else {}
    sha256 = str(lfs.get("oid") or "").removeprefix("sha256:") or None if lfs else None
    size = (lfs or {}).get("size") or entry.get("size")
    return Remote(path, f"{base}/{quote(path)}", size if isinstance(size, int) else None, sha256, headers=headers)


def _license(info: Any) -> str:
    card = info.get("cardData") if isinstance(info, dict) else None
    return str(card.get("license_name") or card.get("license") or "") if isinstance(card, dict) else ""
