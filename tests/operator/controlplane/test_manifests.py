"""What is installed, judged by the API server: strictly, and field by field."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.operator.api.cases import CASES, Case
from tests.operator.controlplane.world import ROOT, voicemodel

pytestmark = pytest.mark.controlplane

EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))


def dry_run(plane: ControlPlane, namespace: str, *arguments: str, stdin: str | None = None) -> str:
    return plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", namespace, *arguments, stdin=stdin
    )


@pytest.mark.parametrize("folder", ["base", "overlays/local"])
def test_each_kustomization_is_accepted(installed: ControlPlane, folder: str) -> None:
    installed.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts",
        "-k", str(ROOT / "manifests" / folder),
    )  # fmt: skip


def test_the_component_for_two_operators_is_accepted(installed: ControlPlane, tmp_path: Path) -> None:
    # Beside the base, as kustomize takes relative paths only; nothing is written there.
    rendered = installed.kubectl("kustomize", str(ROOT / "manifests" / "overlays" / "local"))
    (tmp_path / "all.yaml").write_text(rendered)
    component = tmp_path / "component"
    component.mkdir()
    for file in (ROOT / "manifests" / "components" / "high-availability").iterdir():
        (component / file.name).write_text(file.read_text())
    kustomization = {"resources": ["all.yaml"], "components": ["component"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    two = installed.kubectl("kustomize", str(tmp_path))
    assert "replicas: 2" in two
    installed.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-", stdin=two
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_accepted(installed: ControlPlane, namespace: str, example: Path) -> None:
    dry_run(installed, namespace, "-f", str(example))


def test_the_local_overlay_uses_the_images_of_this_machine(installed: ControlPlane) -> None:
    deployment = yaml.safe_load(
        installed.kubectl("get", "deployment", "voxraga-operator", "-n", "voxraga-system", "-o", "yaml")
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "localhost/voxraga/operator:dev"
    assert container["imagePullPolicy"] == "IfNotPresent"
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["VOXRAGA_OPERATOR_RUNTIME_CPU_IMAGE"] == "localhost/voxraga/runtime-cpu:dev"


def test_the_operators_pod_passes_the_restricted_level(installed: ControlPlane) -> None:
    """The namespace enforces it, so a pod like the Deployment's is admitted or refused by the API server itself."""
    deployment = yaml.safe_load(
        installed.kubectl("get", "deployment", "voxraga-operator", "-n", "voxraga-system", "-o", "yaml")
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": "voxraga-system"},
        "spec": deployment["spec"]["template"]["spec"],
    }
    dry_run(installed, "voxraga-system", "-f", "-", stdin=yaml.safe_dump(pod))
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(RuntimeError, match="restricted"):
        dry_run(installed, "voxraga-system", "-f", "-", stdin=yaml.safe_dump(pod))


def can(plane: ControlPlane, namespace: str, verb: str) -> bool:
    try:
        return "yes" in plane.kubectl("auth", "can-i", verb, "voicemodels.voxraga.io", "-n", namespace, "--as=anna")
    except RuntimeError:  # "no" is an exit status
        return False


@pytest.mark.parametrize(("verb", "allowed"), [("view", False), ("edit", True)])
def test_whoever_edits_a_namespace_edits_its_voicemodels(
    installed: ControlPlane, namespace: str, verb: str, allowed: bool
) -> None:
    installed.kubectl("create", "rolebinding", "anna", f"--clusterrole={verb}", "--user=anna", "-n", namespace)
    deadline = time.monotonic() + 60  # roles are aggregated, and bindings noticed, a moment later
    while not can(installed, namespace, "list"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    apply = ["apply", "-n", namespace, "--as=anna", "-f", "-"]
    if allowed:
        installed.kubectl(*apply, stdin=yaml.safe_dump(voicemodel()))
        installed.kubectl("scale", "voicemodel", "narrator", "--replicas=2", "-n", namespace, "--as=anna")
    else:
        with pytest.raises(RuntimeError, match="forbidden"):
            installed.kubectl(*apply, stdin=yaml.safe_dump(voicemodel()))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxraga_operator", *arguments],
        cwd=ROOT / "operator", capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_printed_manifests_are_accepted(installed: ControlPlane) -> None:
    printed = command("manifests")
    assert printed.returncode == 0
    installed.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-",
        stdin=printed.stdout,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_api_server_holds_the_schema(installed: ControlPlane, namespace: str, case: Case) -> None:
    def send(verb: str, spec: object, *more: str) -> None:
        manifest = {**voicemodel(), "metadata": {"name": case.name}, "spec": spec}
        installed.kubectl(
            verb, "--validate=strict", "-n", namespace, "-f", "-", *more, stdin=yaml.safe_dump(manifest)
        )  # fmt: skip

    if case.before is not None:
        send("create", case.before)
    verb = "create" if case.before is None else "replace"
    if not case.refused:
        send(verb, case.spec, "--dry-run=server")
        return
    with pytest.raises(RuntimeError) as refusal:
        send(verb, case.spec, "--dry-run=server")
    assert case.refused in str(refusal.value)
