"""What the listings tell of models and voices, of those that aren't loaded too."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from voxraga_runtime.server.models.model import Model
from voxraga_runtime.server.models.stored import Stored
from voxraga_runtime.server.service import SpeechService
from voxraga_runtime.store.voices import DEFAULT_VOICE


async def stored(service: SpeechService) -> list[Stored]:
    """Every model of this server, its own first."""
    return [service.stored, *await service.models.stored()]


async def described(service: SpeechService) -> list[dict[str, Any]]:
    """Every model in full. Raises Unavailable while the own model is being loaded, and once the server drains."""
    service.require_ready()
    return [describe(service, one) for one in await stored(service)]


def describe(service: SpeechService, one: Stored) -> dict[str, Any]:
    """One model: what its manifest says, corrected by the engine where it is loaded."""
    model = service.models.loaded(one)
    own = one is service.stored
    facts = {
        "name": one.name,
        "type": service.settings.task if own else "TextToSpeech",
        "origin": one.origin,
        "architecture": one.info.architecture,
        "sample_rate": one.info.sample_rate,
        "languages": one.info.languages,
        "dataset": one.dataset,
        "voices": one.info.voices,
        "device": service.settings.device,
        "bytes": one.bytes,
        "loaded": own or model is not None,
        "last_used": model and datetime.fromtimestamp(model.last_used, UTC).isoformat(timespec="seconds"),
        "upstream": one.info.name,
        "license": one.info.license,
        "revision": one.revision,
        "digest": one.digest,
    }
    return facts | (_of_engine(model) if model else {})


def _of_engine(model: Model) -> dict[str, Any]:
    return {
        "architecture": model.engine.architecture,
        "sample_rate": model.engine.sample_rate,
        "languages": list(model.catalogue.languages),
        "voices": list(model.catalogue.voices),
        "voice_details": [model.catalogue.describe(voice) for voice in model.catalogue.voices],
        "default_voice": model.catalogue.default_voice,
        "capabilities": dataclasses.asdict(model.engine.capabilities),
        "memory_bytes": model.memory,
    }


async def voices(service: SpeechService) -> list[dict[str, Any]]:
    """The own model's voices and aliases by their names, every other model's as `model/voice`."""
    service.require_ready()
    own = service.models.own
    names = list(dict.fromkeys([*own.catalogue.voices, *own.catalogue.aliases])) if own else []
    listed = [{**own.catalogue.describe(name), "id": name, "name": name} for name in names] if own else []
    for one in await service.models.stored():
        model = service.models.loaded(one)
        for voice in one.info.voices or [DEFAULT_VOICE]:
            name = f"{one.name}/{voice}"
            known = model.catalogue.describe(voice) if model else _by_manifest(one)
            listed.append({**known, "id": name, "name": name, "model": one.name})
    return listed


def _by_manifest(one: Stored) -> dict[str, Any]:
    """What is said of a voice before its model is loaded."""
    languages = one.info.languages
    return {"language": languages[0] if len(languages) == 1 else None, "origin": "model", "license": ""}
