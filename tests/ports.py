"""Free loopback ports."""

import contextlib
import secrets
import socket

# Below those that the kernel gives to whoever connects or binds to port 0: nobody takes one between here and its use.
RANGE = range(11_000, 30_000)


def free(count: int) -> list[int]:
    """Ports that nobody listens on now, no two of them the same."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(RANGE)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)
