"""ftcp between two machines, IPv4 and IPv6: gostpy on both, and on either side of gost.

gost hides what its system answers by rules of its own, which stay in the namespace.
"""

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.net.privileges import needs_namespaces
from tests.transparent.routing import Routing, gostpy_program

pytestmark = [pytest.mark.timeout(60), needs_namespaces]

FAR = """
services:
- name: far
  addr: ":{port}"
  listener: {type: ftcp}
  handler: {type: forward}
  forwarder: {nodes: [{name: t, addr: "%s:5353"}]}
"""
NEAR = """
services:
- name: near
  addr: "127.0.0.1:{port}"
  listener: {type: udp, metadata: {keepalive: true}}
  handler: {type: udp, chain: way}
  forwarder: {nodes: [{name: t, addr: "a.test:1"}]}
chains:
- name: way
  hops: [{name: h, nodes: [{name: n, addr: "%s",
    connector: {type: forward}, dialer: {type: ftcp}}]}]
"""


def programs(name: str) -> list[str]:
    if name == "gostpy":
        return gostpy_program()
    found = os.environ.get("GOST_BIN") or shutil.which("gost")
    if not found:
        pytest.skip("needs the real gost in GOST_BIN or on the PATH")
    return [found]


@pytest.mark.parametrize("router", ["10.7.1.1", "[fd07:1::1]"], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("client", "server"), [("gostpy", "gostpy"), ("gostpy", "gost"), ("gost", "gostpy")]
)
def test_datagrams(routing: Routing, tmp_path: Path, client: str, server: str, router: str) -> None:
    far = routing.node(programs(server), FAR % "10.7.2.2", "tcp", tmp_path)
    config = NEAR % f"{router}:{far}"
    near = routing.node(programs(client), config, "udp", tmp_path, routing.client)
    with routing.socket(routing.client, 4, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", near))
        for data in (b"one", b"two", b"x" * 1300, b"four"):
            sock.send(data)
            assert sock.recv(65535) == b"10.7.2.1 " + data
