"""The server's settings: from a spec to the variables of docs/contract.md.

A variable is only set where the spec says something: a new version of the operator that knows another field must not
roll out the pods of those who don't use it. New variables therefore go to the end, and have no default here.
"""

import json
from math import ceil
from typing import Any

from voxraga_operator import quantity
from voxraga_operator.api.access import Access
from voxraga_operator.api.common import seconds
from voxraga_operator.api.serving import Serving
from voxraga_operator.api.voicemodel import VoiceModel, VoiceModelSpec
from voxraga_operator.plan.canonical import compact, number
from voxraga_operator.plan.names import API_KEYS_PATH, UPLOADS_PATH, model_path
from voxraga_operator.plan.objects import pod

PORT = 8080


def environment(model: VoiceModel, key: str) -> list[dict[str, Any]]:
    """The server's settings, and the user's variables, which can't take the place of one of them."""
    spec = model.spec
    values = _basics(model, key) | _access(spec.access) | _more(spec) | _models(spec.serving)
    own = [{"name": f"VOXRAGA_{name}", "value": value} for name, value in compact(values).items()]
    return own + [pod.without_empty(variable.to_json()) for variable in spec.pod_template.env]


def _basics(model: VoiceModel, key: str) -> dict[str, str | None]:
    serving = model.spec.serving
    return {
        "MODEL_NAME": model.metadata.name,
        "MODEL_PATH": model_path(key),
        "TASK": model.spec.task,
        "DEVICE": "cuda" if model.spec.device.type == "GPU" else "cpu",
        "PORT": str(PORT),
        "MAX_CONCURRENCY": _text(serving.max_concurrency),
        "QUEUE_DEPTH": str(serving.queue_depth),
        "QUEUE_TIMEOUT": number(seconds(serving.queue_timeout)),
        "MAX_TEXT_LENGTH": str(serving.max_text_length),
        "CPU_THREADS": str(serving.cpu_threads),
        "DEFAULT_VOICE": serving.defaults.voice,
        "DEFAULT_LANGUAGE": serving.defaults.language,
        "DEFAULT_SPEED": str(serving.defaults.speed),
        "DEFAULT_FORMAT": serving.defaults.format,
        "VOICE_ALIASES": _json(serving.voice_aliases),
        "LOG_LEVEL": serving.log_level,
        "DRAIN_TIMEOUT": number(seconds(serving.drain_timeout)),
    }


def _access(access: Access) -> dict[str, str | None]:
    limit = access.rate_limit
    return {
        "API_KEYS_PATH": API_KEYS_PATH if access.api_keys else None,
        "PUBLIC_LISTINGS": None if access.public_listings else "false",
        "RATE_LIMIT_PER_MINUTE": _text(limit.requests_per_minute if limit else None),
        "RATE_LIMIT_BURST": _text(limit.burst if limit else None),
        "ALLOWED_CIDRS": _json(access.allowed_cidrs) if access.allowed_cidrs else None,
        "TRUSTED_PROXIES": _json(access.trusted_proxies) if access.trusted_proxies else None,
        "CORS_ORIGINS": _json(access.cors) if access.cors else None,
    }


def _more(spec: VoiceModelSpec) -> dict[str, str | None]:
    serving = spec.serving
    return {
        "MAX_BATCH": _text(serving.batching.max_batch),
        "WYOMING_PORT": str(serving.wyoming.port) if serving.wyoming.enabled else None,
        "MAX_AUDIO_BYTES": _bytes(serving.max_audio_bytes),
        "MAX_AUDIO_SECONDS": _seconds(serving.max_audio_duration),
        # The kubelet takes $$ for $, and $(NAME) for a variable: words may hold either.
        "LEXICON": _json(serving.lexicon).replace("$", "$$") if serving.lexicon else None,
        "PRECISION": None if spec.precision == "float32" else spec.precision,
        "RESPONSE_CACHE_BYTES": _bytes(serving.response_cache.max_bytes),
    }


def _models(serving: Serving) -> dict[str, str | None]:
    models, uploads = serving.models, serving.uploads
    return {
        "MODELS_MAX_LOADED": _text(models.max_loaded),
        "MODELS_MEMORY_BYTES": _bytes(models.memory),
        "MODELS_PRELOAD": _json(models.preload) if models.preload else None,
        "MODELS_IDLE_TIMEOUT": _seconds(models.idle_timeout),
        "UPLOADS_PATH": UPLOADS_PATH if uploads.enabled else None,
        "UPLOADS_MAX_BYTES": _bytes(uploads.max_bytes) if uploads.enabled else None,
    }


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _seconds(duration: str | None) -> str | None:
    return None if duration is None else number(seconds(duration))


def _bytes(given: str | None) -> str | None:
    """A quantity as whole bytes; the schema has seen to it that it is one."""
    return None if given is None else str(ceil(quantity.parse(given) or 0))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
