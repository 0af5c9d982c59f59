"""The parts of the test cluster that need no cluster: hashes, tables, relay, words."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ports
from tests.cluster import binaries, engines, images, ociimage, prerequisites, processes, providers, relay
from tests.cluster.binaries import Module
from tests.cluster.ociimage import Image
from tests.cluster.processes import Process, Table


def test_every_module_is_committed_with_its_checksums() -> None:
    for module in binaries.MODULES:
        text = (module.folder / "go.mod").read_text()
        for package in module.tools.values():
            assert package in text, f"{module.name}: no tool line for {package}"
        assert (module.folder / "go.sum").stat().st_size > 0


def test_a_module_hash_changes_with_its_versions_and_link_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.cluster.paths.HERE", tmp_path)
    folder = tmp_path / "modules" / "m"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module m\n")
    (folder / "go.sum").write_text("")
    first = Module("m", {}).hash()
    assert Module("m", {}).hash() == first
    assert Module("m", {}, {"x": "1"}).hash() != first
    (folder / "go.mod").write_text("module m\ngo 1.26.0\n")
    assert Module("m", {}).hash() != first


def test_a_table_knows_the_living_from_the_dead_and_from_a_reused_pid(tmp_path: Path) -> None:
    table = Table(tmp_path / "processes.jsonl")
    process = table.start("sleep", ["sleep", "60"], log=tmp_path / "log", mark=tmp_path)
    assert table.alive() == [process]
    assert not processes.alive(Process("other", process.pid, process.started - 1))
    assert processes.marked(tmp_path) == [process.pid]
    assert os.getsid(process.pid) == process.pid  # in a session of its own: it outlives the terminal
    processes.end([process.pid])
    assert table.alive() == []
    assert table.all() == [process]


def test_a_table_survives_a_line_that_was_being_written(tmp_path: Path) -> None:
    file = tmp_path / "processes.jsonl"
    file.write_text('{"name": "etcd", "pid": 1, "started": 2}\n{"name": "kube')
    assert Table(file).all() == [Process("etcd", 1, 2)]


async def test_the_relay_carries_both_directions_and_their_ends() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())  # only after the client's end came through
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    listener = relay.listen("127.0.0.1:0")
    task = asyncio.create_task(relay.serve(listener, f"127.0.0.1:{target}"))
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    writer.write(b"hello")
    writer.write_eof()
    assert await reader.read() == b"HELLO"
    writer.close()
    task.cancel()
    server.close()
    await asyncio.gather(task, return_exceptions=True)


def test_the_relay_runs_as_a_file_of_its_own() -> None:
    done = subprocess.run([sys.executable, relay.__file__, "--help"], capture_output=True, check=True, cwd="/")
    assert b"--connect" in done.stdout


def test_free_ports_differ_and_can_be_had() -> None:
    found = ports.free(5)
    assert len(set(found)) == 5
    with socket.create_server(("127.0.0.1", found[0])):
        pass


def test_missing_capabilities_are_named() -> None:
    everything = "Name:\tx\nCapEff:\t000001fffeffffff\n"
    assert prerequisites.absent_capabilities(everything) == []
    assert prerequisites.absent_capabilities("CapEff:\t0000000000000000\n") == ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]


def test_what_is_missing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(prerequisites, "_SBIN", ())
    assert prerequisites.missing("controlplane")[0] == "openssl (Debian: apt-get install openssl)"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert any(lack.startswith("root: run it with sudo") for lack in prerequisites.missing("node"))


def test_a_small_image_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x")
    image = Image("localhost/x:dev", {"program": program}, ["/program"], links={"bin/p": "program"})
    assert ociimage.build(image).digest == ociimage.build(image).digest


def test_the_libraries_of_an_image_are_keyed_by_what_they_are_made_from() -> None:
    first = images.key(images.OPERATOR, None)
    assert images.key(images.OPERATOR, None) == first
    assert images.key(images.OPERATOR, "debian") != first
    pinned = images.locked("\n".join(_LOCK), "operator")
    assert pinned == ["kopf==1", "yarl==2"]


_LOCK = (
    '[[package]]\nname = "voxraga"\nversion = "0"\ndependencies = []',
    "[package.optional-dependencies]",
    'operator = [{ name = "kopf" }]\nruntime = [{ name = "torch" }]',
    '[[package]]\nname = "kopf"\nversion = "1"\ndependencies = [{ name = "yarl" }]',
    '[[package]]\nname = "yarl"\nversion = "2"',
    '[[package]]\nname = "torch"\nversion = "3"',
)


def test_every_dockerfile_can_be_cut_in_two() -> None:
    for image in images.IMAGES.values():
        head, tail = image.dockerfile()
        assert "AS dependencies" in head
        assert "ENTRYPOINT" in tail


def test_only_debian_sources_of_this_suite_make_a_base() -> None:
    mirror = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main"
    other = "Types: deb\nURIs: http://other.example\nSuites: nodistro\nComponents: main"
    assert engines.debian_sources([f"{mirror}\n\n{other}\n"]) == f"{mirror}\n"
    assert engines.debian_sources(["deb http://a.example bookworm main\ndeb http://b.example x main\n"]) == (
        "deb http://a.example bookworm main\n"
    )


def test_an_image_keeps_its_path_at_another_registry() -> None:
    assert providers.pushed_name("localhost/voxraga/operator:dev", "r.example/x") == "r.example/x/voxraga/operator:dev"


def test_a_context_is_used_only_when_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXRAGA_TEST_CONTEXT", raising=False)
    monkeypatch.delenv("VOXRAGA_TEST_PROVIDER", raising=False)
    assert isinstance(providers.find(), providers.OwnNode)
    monkeypatch.setenv("VOXRAGA_TEST_CONTEXT", "mine")
    assert isinstance(providers.find(), providers.Existing)
