"""Who may ask how often: API keys from files, client addresses behind proxies, token buckets. Nothing here knows HTTP.

A keys folder is a mounted Secret: each file holds one key a line (`#` begins a comment). It is read again when it
changes, so that keys are rotated without a restart.
"""

import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import structlog

log = structlog.get_logger()

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOK_AGAIN = 1.0  # seconds between looks at the folder; the kubelet itself needs up to a minute
REMEMBERED = 10_000  # clients whose buckets are kept: some megabytes
IPV6_SITE = 64  # bits; one customer has all the addresses below


class KeyRing:
    """The keys of a folder (or of one file). Raises OSError where it can't be read to begin with.

    Without a single key in it nobody is let in: a Secret that was emptied by mistake must not open the server.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen = _signature(path)
        self._digests = _read(path)
        self._looked = clock()

    def __len__(self) -> int:
        return len(self._digests)

    def name_of(self, key: str) -> str | None:
        """The name of the file that holds this key; None of a key that is not known. The time taken tells nothing."""
        self._refresh()
        candidate = _digest(key.encode("utf-8", "surrogateescape"))
        found = None
        for digest, name in self._digests:  # to the end, wherever it was found
            if hmac.compare_digest(candidate, digest):
                found = name
        return found

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        try:
            signature = _signature(self._path)
            if signature == self._seen:
                return
            self._digests = _read(self._path)
        except OSError as error:  # in the middle of an exchange of the files; the old keys hold until the next look
            log.warning("the API keys can't be read", path=str(self._path), error=error.strerror)
            return
        self._seen = signature
        log.info("API keys read again", keys=len(self._digests))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    # a mounted Secret has its real files behind ..data, and links to them here
    return sorted(p for p in path.iterdir() if not p.name.startswith(".") and p.is_file())


def _signature(path: Path) -> list[tuple[str, int, int, int]]:
    found = ((p.name, p.stat()) for p in _files(path))
    return [(name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found]


def _read(path: Path) -> list[tuple[bytes, str]]:
    keys = []
    for file in _files(path):
        lines = (line.strip() for line in file.read_bytes().splitlines())
        keys += [(_digest(line), file.name) for line in lines if line and not line.startswith(b"#")]
    if not keys:
        log.warning("there is no API key: every request will be refused", path=str(path))
    return keys


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()  # of one length, whatever a client sends


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key a request brings: Authorization: Bearer …, X-API-Key, or a browser's WebSocket subprotocol."""
    values = dict(reversed(list(headers)))
    scheme, _, token = values.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        return token.strip().decode("utf-8", "surrogateescape")
    if key := values.get(b"x-api-key", b"").strip():
        return key.decode("utf-8", "surrogateescape")
    # scripts of a page can set no headers of a WebSocket; the name is the one that OpenAI's own servers read
    for protocol in values.get(b"sec-websocket-protocol", b"").split(b","):
        if protocol.strip().startswith(SUBPROTOCOL):
            return protocol.strip()[len(SUBPROTOCOL) :].decode("utf-8", "surrogateescape") or None
    return None


SUBPROTOCOL = b"openai-insecure-api-key."


def parse_address(text: str) -> Address | None:
    """An address as proxies write it: with a port, in brackets, an IPv4 one inside IPv6. None where it is none."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """Who is at the other end: from the right of X-Forwarded-For, the first address that is no trusted proxy's.

    What stands further left was written by whoever that is, and proves nothing.
    """
    address = parse_address(peer)
    hops = [hop for line in forwarded for hop in line.split(",")]
    while address is not None and hops and within(address, trusted):
        before = parse_address(hops.pop())
        if before is None:
            break
        address = before
    return address


def within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == n.version and address in n for n in networks)


def bucket_name(address: Address | None) -> str:
    """One bucket for an IPv4 address, one for an IPv6 site; one for all whose address nobody knows."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_SITE), strict=False))
    return str(address)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bucket said: `wait` is 0.0 for a request that may pass, else seconds; `full_in` is for the headers."""

    wait: float
    limit: int
    remaining: int
    full_in: float


class Limiter:
    """Token buckets by name: `burst` requests at once, `per_minute` in the long run."""

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self.burst = burst
        self._rate = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name: tokens, when; oldest use first

    def take(self, name: str) -> Verdict:
        """Take one token from the bucket of this name, if there is one."""
        now = self._clock()
        tokens, then = self._buckets.pop(name, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - then) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        tokens -= 0 if wait else 1
        self._buckets[name] = (tokens, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return Verdict(wait, math.ceil(self.per_minute), int(tokens), (self.burst - tokens) / self._rate)
