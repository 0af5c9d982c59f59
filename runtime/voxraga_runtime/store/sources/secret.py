"""The source's Secret, mounted as files: read at each fetch, sent as a header, never logged."""

import base64
from pathlib import Path

from voxraga_runtime.store.errors import StoreError


def headers(folder: Path | None, *, basic: bool = True) -> dict[str, str]:
    """The Authorization header for a source: a Bearer token, or user and password where `basic` is allowed.

    Without a folder the source is public. Raises StoreError SecretInvalid naming the missing key.
    """
    if folder is None:
        return {}
    if token := _read(folder, "token"):
        return {"Authorization": f"Bearer {token}"}
    user, password = (_read(folder, "username"), _read(folder, "password")) if basic else ("", "")
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    wanted = "'token', or 'username' and 'password'" if basic else "'token'"
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    raise StoreError("SecretInvalid", f"the source's Secret needs the key {wanted}; found {found or 'none'}")


def _read(folder: Path, key: str) -> str:
    try:
        value = (folder / key).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError("SecretInvalid", f"key {key!r} of the source's Secret cannot be read: {error}") from error
    if not value.isprintable():
        raise StoreError(
            "SecretInvalid", f"key {key!r} of the source's Secret holds characters that no header may have"
        )
    return value
