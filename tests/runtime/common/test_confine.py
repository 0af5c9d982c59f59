"""What a confined process can't do, tried in real processes."""

import os
import subprocess
import sys

import pytest

CONFINED = """
import ctypes, os, resource, signal, socket, subprocess, sys, tempfile, threading
from voxraga_runtime.common import confine
parent = os.getppid()
confine.confine(cpu_seconds=30, file_bytes=1000)
def told(work):
    try:
        work()
    except (OSError, MemoryError) as error:
        print(type(error).__name__)
    else:
        print("allowed")
"""
LIBC = "libc = ctypes.CDLL(None, use_errno=True)\nprint(libc.syscall({}), os.strerror(ctypes.get_errno()))"


def confined(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CONFINED + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": "runtime", "PATH": os.environ["PATH"]},
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("told(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))", "PermissionError"),
        ("told(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))", "PermissionError"),
        ("told(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))", "PermissionError"),
        ("told(lambda: socket.create_connection(('127.0.0.1', 1)))", "PermissionError"),
        ("told(lambda: socket.socket(socket.AF_UNIX))", "allowed"),
        ("t = threading.Thread(target=told, args=(socket.socket,)); t.start(); t.join()", "PermissionError"),
        # what it starts is as confined as it is
        ("print(subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], stderr=-3).returncode)", "1"),
        ("told(lambda: os.kill(parent, 0))", "PermissionError"),
        (LIBC.format("101 if os.uname().machine == 'x86_64' else 117, 16, parent"), "-1 Operation not permitted"),
        (LIBC.format("425, 8, 0"), "-1 Operation not permitted"),
        ("f = tempfile.TemporaryFile(buffering=0); f.write(bytes(1000)); told(lambda: f.write(b'x'))", "OSError"),
        ("confine.limit_memory(64 << 20); told(lambda: bytes(32 << 20))", "allowed"),
        ("confine.limit_memory(64 << 20); told(lambda: bytearray(128 << 20))", "MemoryError"),
    ],
)
def test_what_is_not_needed_is_not_there(code: str, said: str) -> None:
    ended = confined(code)
    assert (ended.stdout.strip(), ended.returncode) == (said, 0), ended.stderr


def test_time_on_the_processor_ends() -> None:
    ended = confined("resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass")
    assert ended.returncode < 0
