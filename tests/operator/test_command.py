"""The command: what it prints and what it refuses."""

from pathlib import Path

import pytest
import yaml

from voxraga_operator import __main__ as command
from voxraga_operator.settings import OperatorSettings

ROOT = Path(__file__).parents[2]
CRD = ROOT / "crds" / "voxraga.io_voicemodels.yaml"


def test_the_committed_crd_is_the_generated_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["crds", "--check", str(CRD)]) == 0
    assert command.main(["crds"]) == 0
    assert capsys.readouterr().out == CRD.read_text()


def test_a_crd_that_differs_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "crd.yaml").write_text(CRD.read_text().replace("VoiceModel", "VoiceMuddle", 1))
    assert command.main(["crds", "--check", str(tmp_path / "crd.yaml")]) == 1
    assert "VoiceMuddle" in capsys.readouterr().err


def test_the_manifests_hold_all_that_the_base_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["manifests"]) == 0
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    kinds = [document["kind"] for document in printed]
    assert kinds.count("CustomResourceDefinition") == 1
    assert {"Namespace", "ServiceAccount", "ClusterRole", "Role", "Deployment", "Service"} <= set(kinds)
    base = yaml.safe_load((ROOT / "manifests" / "base" / "kustomization.yaml").read_text())
    files = {path.name for path in (ROOT / "manifests" / "base").glob("*.yaml")} - {"kustomization.yaml"}
    assert files == {name for name in base["resources"] if name.endswith(".yaml")}


def test_options_win_over_the_environment() -> None:
    options = command._parser().parse_args(["run", "--namespace", "a", "--namespace", "b", "--no-leader-election"])
    settings = command._with_options(OperatorSettings(), options)
    assert settings.watch_namespaces == ("a", "b")
    assert not settings.leader_election
    everywhere = command._parser().parse_args(["run", "--namespace", "all"])
    assert command._with_options(OperatorSettings(watch_namespaces=("a",)), everywhere).watch_namespaces == ()


def test_a_setting_that_can_not_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXRAGA_OPERATOR_WORKERS", "none")
    assert command.main(["run"]) == 2
    assert "VOXRAGA_OPERATOR_WORKERS" in capsys.readouterr().err
