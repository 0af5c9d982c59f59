"""Licences that a person has to accept before the model is fetched."""

from .errors import StoreError
from .listing import Listing

CPML = "CPML"
CPML_TEXT = "https://tts-hub.github.io/cpml"
BY_ARCHITECTURE = {"xtts": CPML}
"""Weights of these models carry the licence of the model that they were made from, whoever offers them."""


def require(architecture: str, listing: Listing, accepted: list[str]) -> None:
    """Raise StoreError LicenseNotAccepted when the architecture's weights need a licence that was not accepted."""
    needed = BY_ARCHITECTURE.get(architecture)
    if needed:
        require_accepted(needed, listing.name, accepted)


def require_accepted(license_name: str, model: str, accepted: list[str]) -> None:
    """Raise StoreError LicenseNotAccepted unless `accepted` (spec.license.accepted) names the licence."""
    if license_name.casefold() in {name.casefold() for name in accepted}:
        return
    text = f" ({CPML_TEXT}; non-commercial use only)" if license_name == CPML else ""
    raise StoreError(
        "LicenseNotAccepted",
        f"{model} is under the licence {license_name}{text}; to accept it, set spec.license.accepted: [{license_name}]",
    )
