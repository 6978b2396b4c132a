"""What only root may do: tests that need it are skipped, and counted, elsewhere."""

import _socket
import os
import shutil
import subprocess

import pytest


def _raw_sockets() -> bool:
    try:
        _socket.socket(_socket.AF_INET, _socket.SOCK_RAW, _socket.IPPROTO_TCP).close()
    except OSError:
        return False
    return True


def _namespaces() -> bool:
    """Whether network namespaces can be made; tries, since containers may forbid it."""
    tools = ("ip", "iptables", "ip6tables")
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in tools):
        return False
    name = f"probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made.returncode == 0


needs_raw_sockets = pytest.mark.skipif(not _raw_sockets(), reason="needs raw sockets (root)")
needs_namespaces = pytest.mark.skipif(
    not _namespaces(), reason="needs network namespaces (root), ip and iptables"
)
