"""Names of a VoiceModel's children, and the key that a stored model goes by."""

import hashlib
import json
from typing import Any

from voxraga_operator.api.voicemodel import VoiceModel, VoiceModelSpec

STORE_PATH = "/store"
SOURCE_PATH = "/source"
SECRET_PATH = "/secrets/source"  # noqa: S105 - a folder, not a secret
API_KEYS_PATH = "/secrets/api-keys"
UPLOADS_PATH = "/uploads"
UPLOADS_FOLDER = "uploads"
"""Folder of the store that is mounted there."""

_KEY_LENGTH = 16


def store_key(spec: VoiceModelSpec) -> str:
    """Key of the wanted model: another source is another key."""
    wanted = {"task": spec.task, "source": spec.source.to_json()}
    return digest(wanted)[:_KEY_LENGTH]


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON of a value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def claim_name(model: VoiceModel) -> str:
    return model.spec.store.existing_claim or f"{model.metadata.name}-store"


def job_name(model: VoiceModel, key: str) -> str:
    return f"{model.metadata.name}-fetch-{key}"


def model_path(key: str) -> str:
    """Folder of a published model, as pods see it."""
    return f"{STORE_PATH}/models/{key}"


def service_url(model: VoiceModel, cluster_domain: str) -> str:
    """Where the model is reached from within the cluster."""
    host = f"{model.metadata.name}.{model.metadata.namespace}.svc.{cluster_domain}"
    return http_url(host, model.spec.service.port)


def http_url(host: str, port: int) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return f"http://{bracketed}" if port == 80 else f"http://{bracketed}:{port}"  # noqa: PLR2004 - HTTP's own port
