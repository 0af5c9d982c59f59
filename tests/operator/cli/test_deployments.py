"""What Compose and systemd run is a command that this version understands, and stops as it has to be stopped."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator.cli.files import ROOT, made
from voxraga_operator.cli import command, document, schema
from voxraga_operator.cli.failure import GIVE_UP

COMPOSE = ROOT / "manifests" / "compose" / "compose.yaml"
UNIT = ROOT / "manifests" / "systemd" / "voxraga@.service"
DOCKERFILE = ROOT / "manifests" / "compose" / "Dockerfile"


def filled(text: str) -> str:
    """With the defaults of ${NAME:-default}, as Compose fills them in."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(filled(COMPOSE.read_text()))["services"]["voice"]
    return found


def unit() -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


def longest_grace() -> int:
    return int(made().deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])


def test_compose_runs_the_example() -> None:
    voice = service()
    options = command._parser().parse_args(voice["command"])
    file, store = voice["volumes"]
    assert (options.file, options.store) == (file["target"], Path(store["target"]))
    given, _ = document.read(str((COMPOSE.parent / file["source"]).resolve()))
    assert schema.admit(given).mistakes == ()
    assert voice["ports"] == [f"127.0.0.1:8080:{options.port}"]
    assert f"127.0.0.1:{options.port}/ready" in voice["healthcheck"]["test"][-1]
    compile(voice["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_compose_gives_the_server_time_and_little_else() -> None:
    voice = service()
    assert int(voice["stop_grace_period"].removesuffix("s")) > longest_grace()
    assert voice["read_only"]
    assert voice["cap_drop"] == ["ALL"]
    assert voice["user"] == "10001:10001"


def test_the_image_of_compose_is_made_of_what_is_there() -> None:
    build = service()["build"]
    assert (COMPOSE.parent / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DOCKERFILE
    lines = DOCKERFILE.read_text()
    (copied,) = re.findall(r"^COPY (\S+) ", lines, re.MULTILINE)
    assert (ROOT / copied / "cli" / "__main__.py").is_file()
    assert f"!{copied.split('/')[0]}" in (ROOT / ".dockerignore").read_text().splitlines()
    # The layout that the runtime image has: what is copied must be found there.
    assert "PYTHONPATH=/opt/voxraga/code:" in (ROOT / "Dockerfile.runtime-cpu").read_text()
    assert re.findall(r"^USER (\S+)", lines, re.MULTILINE)[-1] == "10001:10001"


def test_the_unit_runs_a_command_that_is_understood() -> None:
    settings = unit()
    (line,) = settings["ExecStart"]
    program, *arguments = shlex.split(line.replace("%i", "narrator").replace("$VOXRAGA_SERVE", "--port 8090"))
    assert program.endswith("/bin/voxraga")
    options = command._parser().parse_args(arguments)
    assert options.file == "/etc/voxraga/narrator.yaml"
    assert options.port == 8090


def test_the_unit_stops_as_the_command_has_to_be_stopped() -> None:
    settings = unit()
    assert settings["KillMode"] == ["mixed"]
    assert int(settings["TimeoutStopSec"][0].removesuffix("s")) > longest_grace()
    assert settings["RestartPreventExitStatus"] == [str(GIVE_UP)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: install the package systemd")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/voxraga/bin/voxraga", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(copy)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout
