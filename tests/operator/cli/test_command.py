"""The command line: what it reads, what it refuses, and what it says."""

import io
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator.cli.files import CLAIM, EXAMPLES, document, made, written
from voxraga_operator.cli import address, command, serve
from voxraga_operator.cli.failure import Failure

EXAMPLE = str(EXAMPLES / "voicemodel.yaml")


def test_plan_prints_objects_that_kubectl_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["plan", "-f", EXAMPLE]) == 0
    out = capsys.readouterr().out
    kinds = ["PersistentVolumeClaim", "Service", "Job", "Deployment", "PodDisruptionBudget"]
    assert [each["kind"] for each in yaml.safe_load_all(out)] == kinds
    assert "&id" not in out


def test_plan_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(Path(EXAMPLE).read_text()))
    assert command.main(["plan", "-f", "-"]) == 0
    assert "kind: Deployment" in capsys.readouterr().out


def test_one_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "speech"}}
    file = written(tmp_path, namespace, document("one"), document("two"))
    assert command.main(["plan", "-f", file]) == 2
    assert "several VoiceModels (one, two): say which by --name" in capsys.readouterr().err
    assert command.main(["plan", "-f", file, "--name", "two"]) == 0
    told = capsys.readouterr()
    assert "name: two-store" in told.out
    assert f"left out: Namespace speech of {file}" in told.err
    assert command.main(["plan", "-f", file, "--name", "three"]) == 2
    assert "--name is three, but the file holds one, two" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it holds no VoiceModel"),
        ("kind: Pod\nmetadata: {name: a}", "it holds no VoiceModel, but Pod a"),
        ("- 1", "a document is a list, not an object"),
        ("a: [", "is no YAML"),
        ("kind: VoiceModel\nkind: Pod", 'key "kind" stands twice'),
        ("kind: VoiceModel\napiVersion: voxraga.io/v2", "apiVersion is 'voxraga.io/v2'; this version reads"),
        (
            "kind: VoiceModel\napiVersion: voxraga.io/v1alpha1\nmetadata: {name: 2026-05-04}\nspec: {source: {}}",
            "metadata.name must be at most 40 characters long",
        ),
    ],
)
def test_a_file_that_holds_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert command.main(["serve", "-f", str(file)]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["plan", "-f", "/nowhere.yaml"]) == 2
    assert "/nowhere.yaml can't be read: No such file" in capsys.readouterr().err


def test_mistakes_are_told_as_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, document(replica=2, task="Sing"))
    assert command.main(["serve", "-f", file]) == 2
    first, *mistakes = capsys.readouterr().err.splitlines()
    assert first.endswith("a cluster would refuse this VoiceModel:")
    assert [line.split()[0] for line in mistakes] == ["spec.replica:", "spec.task"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "http"], "'http' is no port: 0 to 65535"),
        (["--port", "65536"], "'65536' is no port"),
        (["--claim", "voices"], "'voices' is not of the form NAME=DIR"),
    ],
)
def test_options_that_can_not_be(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["serve", "-f", EXAMPLE, *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command.main(["serve", "-f", EXAMPLE, "--port", str(port), "--store", str(tmp_path / "store")]) == 1
    told = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 can't be had: Address already in use" in told
    assert "--port (0 takes a free one)" in told
    assert not (tmp_path / "store").exists()


def test_wyomings_port_is_looked_at_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = written(tmp_path, document(serving={"wyoming": {"enabled": True, "port": port}}))
        assert command.main(["serve", "-f", file, "--port", "0", "--store", str(tmp_path / "store")]) == 1
    told = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 can't be had: Address already in use" in told
    assert "spec.serving.wyoming.port" in told


KEYS = {"apiKeys": {"secretName": "keys"}}


@pytest.mark.parametrize(
    ("access", "arguments", "told"),
    [
        ({}, ["--api-keys", "/etc/hostname"], "the VoiceModel asks for no keys; set spec.access.apiKeys.secretName"),
        (KEYS, ["--api-keys", "/nowhere"], "--api-keys /nowhere: there is no such file or folder"),
        (KEYS, ["--host", "0.0.0.0"], "spec.access.apiKeys asks for keys, and --host 0.0.0.0 lets others reach"),
    ],
)
def test_keys_that_can_not_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], access: dict[str, Any], arguments: list[str], told: str
) -> None:
    file = written(tmp_path, document(access=access))
    assert command.main(["serve", "-f", file, "--port", "0", "--store", str(tmp_path / "store"), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("spec", "keys", "typed"),
    [
        ({}, False, """curl http://127.0.0.1:80/v1/audio/speech -d '{"input": "Hello"}' > hello.mp3"""),
        (
            {"serving": {"defaults": {"format": "wav"}}},
            True,
            """curl http://127.0.0.1:80/v1/audio/speech -H "X-API-Key: $KEY" -d '{"input": "Hello"}' > hello.wav""",
        ),
        (
            {"task": "SpeechToText", "source": CLAIM},
            False,
            "curl http://127.0.0.1:80/v1/audio/transcriptions -F file=@recording.wav",
        ),
    ],
)
def test_a_first_request_to_type(spec: dict[str, Any], keys: bool, typed: str) -> None:
    place = address.Address(host="127.0.0.1", port=80)
    assert serve._example(place, made(**spec), keys=keys) == typed


def test_without_the_runtime_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "_NEEDED", ("voxraga_runtime", "no_such_module"))
    assert command.main(["serve", "-f", EXAMPLE, "--port", "0", "--store", str(tmp_path)]) == 2
    assert "(no no_such_module): install voxraga[runtime]" in capsys.readouterr().err


def test_a_setting_of_the_operator_that_can_not_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXRAGA_OPERATOR_WORKERS", "none")
    assert command.main(["plan", "-f", EXAMPLE]) == 2
    assert "VOXRAGA_OPERATOR_WORKERS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_DATA_HOME": "/data"}, "/data/voxraga/default/narrator"),
        ({"XDG_DATA_HOME": "data"}, "~/.local/share/voxraga/default/narrator"),
        ({}, "~/.local/share/voxraga/default/narrator"),
    ],
)
def test_where_the_store_is(environ: dict[str, str], expected: str) -> None:
    options: Any = command._parser().parse_args(["plan", "-f", EXAMPLE])
    made, _ = command._read(options)
    assert command._data_folder(environ, made) == Path(expected).expanduser()


@pytest.mark.parametrize(
    ("host", "public", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:"),
        ("localhost", False, "http://localhost:"),
        ("0.0.0.0", True, "http://127.0.0.1:"),
    ],
)
def test_addresses(host: str, public: bool, url: str) -> None:
    found = address.free(host, 0)
    assert found.port > 0
    assert found.public is public
    assert found.url == f"{url}{found.port}"


def test_ipv6_addresses() -> None:
    assert address.Address(host="::1", port=80).url == "http://[::1]:80"
    assert address.Address(host="::", port=80).url == "http://[::1]:80"
    assert address.Address(host="host.internal", port=80).public


def test_a_host_that_is_not_this_machines() -> None:
    with pytest.raises(Failure, match=r"port 0 of 192\.0\.2\.1 can't be had"):
        address.free("192.0.2.1", 0)
