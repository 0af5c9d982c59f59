"""Keys that rotate, addresses behind proxies, token buckets: tables of what must come out."""

import os
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from voxraga_runtime.common import access
from voxraga_runtime.common.access import KeyRing, Limiter, bucket_name, client_address, presented_key


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_file_holds_keys_by_line(tmp_path: Path) -> None:
    (tmp_path / "team-a").write_text("# since March\nfirst-key\n\n  second-key  \r\n")
    (tmp_path / "team-b").write_bytes("schlüssel".encode())
    (tmp_path / "..hidden").write_text("not-a-key")
    ring = KeyRing(tmp_path)
    assert len(ring) == 3
    assert ring.name_of("first-key") == ring.name_of("second-key") == "team-a"
    assert ring.name_of("schlüssel") == "team-b"
    for wrong in ("", "first-ke", "first-key2", "# since March", "not-a-key", "x" * 100_000, "\udcff"):
        assert ring.name_of(wrong) is None


def test_a_single_file_will_do(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\ntwo\n")
    assert KeyRing(tmp_path / "keys").name_of("two") == "keys"


def test_no_key_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n# nothing\n")
    assert KeyRing(tmp_path).name_of("") is None


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        KeyRing(tmp_path / "none")


def publish(folder: Path, generation: str, key: str) -> None:
    """Exchange a Secret's files as the kubelet does: a new folder, and one rename of the link to it."""
    (folder / generation).mkdir()
    (folder / generation / "key").write_text(key)
    (folder / "..new").symlink_to(generation)
    (folder / "..new").rename(folder / "..data")
    if not (folder / "key").is_symlink():
        (folder / "key").symlink_to("..data/key")


def test_a_mounted_secret_is_rotated_without_a_restart(tmp_path: Path, clock: Clock) -> None:
    publish(tmp_path, "..1", "old-key")
    ring = KeyRing(tmp_path, clock)
    assert ring.name_of("old-key") == "key"
    publish(tmp_path, "..2", "new-key")
    assert ring.name_of("old-key") == "key"  # not looked yet
    clock.now += access.LOOK_AGAIN
    assert ring.name_of("new-key") == "key"
    assert ring.name_of("old-key") is None


def test_keys_hold_while_the_folder_is_away(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "a").write_text("the-key")
    ring = KeyRing(folder, clock)
    folder.rename(tmp_path / "elsewhere")
    clock.now += access.LOOK_AGAIN
    assert ring.name_of("the-key") == "a"
    folder.mkdir()
    (folder / "b").write_text("another")
    clock.now += access.LOOK_AGAIN
    assert (ring.name_of("the-key"), ring.name_of("another")) == (None, "b")


def test_a_key_changed_in_place_is_noticed(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "a").write_text("key-1")
    ring = KeyRing(tmp_path, clock)
    (tmp_path / "a").write_text("key-2")
    os.utime(tmp_path / "a", ns=(1, 1))
    clock.now += access.LOOK_AGAIN
    assert (ring.name_of("key-1"), ring.name_of("key-2")) == (None, "a")


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(b"authorization", b"Bearer abc")], "abc"),
        ([(b"authorization", b"bearer   abc ")], "abc"),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"x-api-key", b"abc")], "abc"),
        ([(b"authorization", b"Basic abc"), (b"x-api-key", b"def")], "def"),
        ([(b"authorization", b"Bearer first"), (b"authorization", b"Bearer second")], "first"),
        ([(b"sec-websocket-protocol", b"realtime, openai-insecure-api-key.abc")], "abc"),
        ([(b"sec-websocket-protocol", b"openai-insecure-api-key.")], None),
        ([(b"x-api-key", b"\xff\xfe")], "\udcff\udcfe"),
    ],
)
def test_where_a_key_is_read_from(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    assert presented_key(headers) == key


PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not from a proxy: nobody's word for it
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the left one is the client's invention
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1,10.9.9.9"], "198.51.100.1"),  # several headers are one list
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),  # all inside
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("", ["198.51.100.1"], None),
    ],
)
def test_the_client_behind_trusted_proxies(peer: str, forwarded: list[str], found: str | None) -> None:
    assert client_address(peer, forwarded, PROXIES) == (found and ip_address(found))


@pytest.mark.parametrize(
    ("address", "name"),
    [("198.51.100.1", "198.51.100.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64")],
)
def test_an_ipv6_site_is_one_client(address: str, name: str) -> None:
    assert bucket_name(ip_address(address)) == name


def test_a_burst_then_the_rate(clock: Clock) -> None:
    limiter = Limiter(60, 3, clock)
    assert [limiter.take("a").wait for _ in range(3)] == [0, 0, 0]
    refused = limiter.take("a")
    assert (refused.wait, refused.limit, refused.remaining, refused.full_in) == (1.0, 60, 0, 3.0)
    assert limiter.take("b").wait == 0  # nobody else's concern
    clock.now += 0.75
    assert limiter.take("a").wait == pytest.approx(0.25)
    clock.now += 0.25
    assert limiter.take("a").wait == 0
    clock.now += 3600
    assert [limiter.take("a").wait > 0 for _ in range(4)] == [False, False, False, True]


def test_over_a_long_time_the_rate_holds(clock: Clock) -> None:
    limiter = Limiter(30, 5, clock)
    passed = 0
    for _ in range(6000):  # ten minutes, ten requests a second
        passed += limiter.take("a").wait == 0
        clock.now += 0.1
    assert passed == pytest.approx(30 * 10 + 5, abs=1)


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "REMEMBERED", 10)
    limiter = Limiter(60, 1, clock)
    for n in range(1000):
        limiter.take(str(n))
    assert len(limiter._buckets) == 10
