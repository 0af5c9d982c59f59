"""A process that gives up what it doesn't need: no network, no look at other processes, bounded memory and time.

Linux only, without any privilege: prctl(PR_SET_NO_NEW_PRIVS), a seccomp filter, and resource limits. Call it before
anything starts a thread, since a filter holds for its own thread and those that it starts.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38  # linux/prctl.h
SECCOMP_MODE_FILTER = 2  # linux/seccomp.h
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE = 0x00050000 | errno.EPERM
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: ld [k], jeq, jge, ret
INSTRUCTION = 8  # bytes: struct sock_filter
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16  # where struct seccomp_data has them; the argument's lower half
X32 = 0x40000000  # x86_64's second set of calls, with numbers of its own


@dataclass(frozen=True, slots=True)
class _Calls:
    """Numbers of one architecture's system calls. `others` would go around the filter or into other processes."""

    audit: int
    socket: int
    others: tuple[int, ...]


# fmt: off
CALLS = {
    # io_uring_setup (it opens sockets by itself), ptrace, process_vm_readv, process_vm_writev, kill, tkill,
    # pidfd_send_signal, pidfd_getfd, bpf, perf_event_open, userfaultfd, unshare, setns, mount, keyctl, add_key
    "x86_64": _Calls(0xC000003E, 41, (425, 101, 310, 311, 62, 200, 424, 438, 321, 298, 323, 272, 308, 165, 250, 248)),
    "aarch64": _Calls(0xC00000B7, 198, (425, 117, 270, 271, 129, 130, 424, 438, 280, 241, 282, 97, 268, 40, 219, 217)),
}
# fmt: on


def confine(*, cpu_seconds: int, file_bytes: int) -> None:
    """No sockets but AF_UNIX, no new rights; ends with its parent, and is the first to go where memory runs out.

    `file_bytes` is the most that one written file may have. Raises OSError where this machine can't do that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(libc, PR_SET_NO_NEW_PRIVS, 1)
    instructions = _program(platform.machine())
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // INSTRUCTION, ctypes.addressof(buffer))
    _prctl(libc, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def limit_memory(more: int) -> None:
    """At most `more` bytes beyond what the process has now (RLIMIT_DATA: what it writes to, not what it maps)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    now = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))
    _limit(resource.RLIMIT_DATA, now + more)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (most, most))


def _prctl(libc: ctypes.CDLL, *arguments: int) -> None:
    if libc.prctl(*(ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0)[:5])):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _program(machine: str) -> bytes:
    """The filter as BPF: struct sock_filter (code, jump if true, jump if false, k) each."""
    calls = CALLS.get(machine)
    if calls is None:
        raise OSError(errno.ENOSYS, f"no filter of system calls is known for {machine}")
    refused = [_jump(EQUAL, number, 0, 1) + _step(RETURN, REFUSE) for number in calls.others]
    return b"".join(
        [
            _step(LOAD, ARCHITECTURE),
            _jump(EQUAL, calls.audit, 1, 0),
            _step(RETURN, KILL),  # a call of the other architecture that this processor also speaks
            _step(LOAD, NUMBER),
            _jump(AT_LEAST, X32, 0, 1),
            _step(RETURN, KILL),
            *refused,
            _jump(EQUAL, calls.socket, 0, 3),
            _step(LOAD, ARGUMENT),
            _jump(EQUAL, socket.AF_UNIX, 1, 0),
            _step(RETURN, REFUSE),
            _step(RETURN, ALLOW),
        ]
    )


def _step(code: int, value: int) -> bytes:
    return struct.pack("<HBBI", code, 0, 0, value)


def _jump(code: int, value: int, true: int, false: int) -> bytes:
    return struct.pack("<HBBI", code, true, false, value)
