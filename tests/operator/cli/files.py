"""VoiceModels as files, and what the command makes of them."""

from pathlib import Path
from typing import Any

import yaml

from voxraga_operator.api.common import API_VERSION
from voxraga_operator.cli.planned import Planned, planned
from voxraga_operator.cli.schema import admit
from voxraga_operator.settings import OperatorSettings

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "manifests" / "examples"
DEMO: dict[str, Any] = {"builtin": {"name": "demo"}}
CLAIM: dict[str, Any] = {"persistentVolumeClaim": {"claimName": "voices", "path": "anna"}}


def document(name: str = "narrator", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name}
    return {"apiVersion": API_VERSION, "kind": "VoiceModel", "metadata": metadata, "spec": {"source": DEMO, **spec}}


def made(**spec: Any) -> Planned:
    admitted = admit(document(**spec))
    assert admitted.mistakes == ()
    return planned(admitted.document, OperatorSettings())


def written(folder: Path, *documents: Any) -> str:
    path = folder / "voicemodel.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)
