"""Where models come from: one module a source; `resolve` asks the one that spec.source names."""

from voxraga_runtime.store.http import Http
from voxraga_runtime.store.listing import Listing
from voxraga_runtime.store.settings import Settings

from . import catalog, http, huggingface, local


def resolve(settings: Settings, client: Http) -> Listing:
    """The files of spec.source, each with its place in the bundle. Raises StoreError with a reason of the contract."""
    source = settings.source
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
