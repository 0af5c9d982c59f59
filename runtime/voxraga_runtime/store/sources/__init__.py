"""Where models come from: one module a source; `resolve` asks the one that spec.source names."""

from voxraga_runtime.store import whisper
from voxraga_runtime.store.errors import StoreError
from voxraga_runtime.store.http import Http
from voxraga_runtime.store.listing import Listing
from voxraga_runtime.store.settings import Settings, Source

from . import catalog, http, huggingface, local


def resolve(settings: Settings, client: Http) -> Listing:
    """The files of spec.source, each with its place in the bundle. Raises StoreError with a reason of the contract."""
    if settings.task == "SpeechToText":
        return whisper.select(_resolve(_whole(settings.source), settings, client))
    return _resolve(settings.source, settings, client)


def _whole(source: Source) -> Source:
    """A source of a model that hears: every file of a repository is looked at, since safetensors are left out else."""
    if source.catalog or source.builtin:
        raise StoreError(
            "UnsupportedModel", "catalog and builtin have voices only; for SpeechToText name another source"
        )
    if source.hugging_face is None:
        return source
    everything = source.hugging_face.model_copy(update={"include": ["*"]})
    return source.model_copy(update={"hugging_face": everything})


def _resolve(source: Source, settings: Settings, client: Http) -> Listing:
    if source.catalog:
        return catalog.resolve(source.catalog, settings, client)
    if source.hugging_face:
        return huggingface.resolve(source.hugging_face, settings, client)
    if source.http:
        return http.resolve(source.http, settings)
    if source.persistent_volume_claim:
        return local.resolve_claim(source.persistent_volume_claim, settings)
    if source.builtin:
        return local.resolve_builtin(source.builtin)
    raise AssertionError("unreachable: the settings demand exactly one source")
