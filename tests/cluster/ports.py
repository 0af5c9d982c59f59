"""Free loopback ports."""

import socket
from contextlib import ExitStack


def free(count: int) -> list[int]:
    """Ports that nobody listens on now. All are held until the last is found, so no two are the same."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
