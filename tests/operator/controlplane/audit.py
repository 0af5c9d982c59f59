"""Who wrote what, by the API server's audit log."""

import json

from tests.cluster.controlplane import ControlPlane


def writes_by(controlplane: ControlPlane, user: str, since: int, about: str = "") -> list[str]:
    """Every write of a user in the audit log past an offset: dry runs and refused ones count as well."""
    lines = controlplane.audit_log.read_bytes()[since:].decode().splitlines()
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [
        f"{entry['verb']} {entry['requestURI']}"
        for entry in found
        if entry["verb"] in {"create", "update", "patch", "delete"}
        and entry["user"]["username"] == user
        and about in entry["requestURI"]
    ]


def audit_offset(controlplane: ControlPlane) -> int:
    return controlplane.audit_log.stat().st_size
