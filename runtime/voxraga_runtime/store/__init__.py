"""The model store: fetch, verify, publish and read models by the contract of docs/contract.md."""

from .errors import StoreError
from .manifest import File, Manifest, ModelInfo, load, verify

__all__ = ["File", "Manifest", "ModelInfo", "StoreError", "load", "verify"]
