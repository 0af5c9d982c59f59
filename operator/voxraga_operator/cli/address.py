"""Where the server listens on this machine, and how it is reached there."""

import ipaddress
import socket
from dataclasses import dataclass

from voxraga_operator.cli.failure import AGAIN, Failure

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where somebody asked for it
_LOCALHOST = "localhost"


@dataclass(frozen=True, kw_only=True)
class Address:
    """An address that was free when it was looked at."""

    host: str
    port: int

    @property
    def reached_by(self) -> str:
        """The host by which this machine itself reaches it."""
        return _EVERYWHERE.get(self.host, self.host)

    @property
    def url(self) -> str:
        host = f"[{self.reached_by}]" if ":" in self.reached_by else self.reached_by
        return f"http://{host}:{self.port}"

    @property
    def public(self) -> bool:
        """Whether others than this machine can reach it."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != _LOCALHOST


ANOTHER_PORT = "choose another by --port (0 takes a free one)"


def free(host: str, port: int, *, remedy: str = ANOTHER_PORT) -> Address:
    """The address, with a free port for port 0. Looked at before the fetch, so that a long one is not in vain."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(place[:2], family=family) as listener:
            return Address(host=host, port=int(listener.getsockname()[1]))
    except socket.gaierror as error:
        raise Failure(f"--host {host}: {error.strerror}") from None
    except OSError as error:
        told = f"{error.strerror}; {remedy}, or stop what listens there"
        raise Failure(f"port {port} of {host} can't be had: {told}", AGAIN) from None
