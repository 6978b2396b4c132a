"""Two nodes in one process with something between them: client - near - (tested) - far - target.

``STREAMS`` and ``PACKETS`` are the names of data channels that exist on both sides, taken from the
table of stacks: a row that is added there is tested without editing anything here, unless it needs
its own protocol (``PROTOCOLS``) or cannot be tested in one process (``EXCEPTIONS``).
"""

from __future__ import annotations

import socket
from typing import Any

from gostpy.channel.stacks import DIALERS, LISTENERS
from tests.engine.running import Running, Stage

EXCEPTIONS = {
    "stdio": "there is one standard input; tests/net has it",
    "serial": "needs a device",
    "icmp": "needs raw sockets and two machines",
    "icmp6": "needs raw sockets and two machines",
    "ftcp": "needs raw sockets",
    "dns": "answers queries",
    "http3": "PHT as a dialer, a reverse proxy as a listener",
    "h3-masque": "speaks with the masque handler only",
}

PROTOCOLS = {"http2": ("http2", "http2"), "sshd": ("sshd", "sshd")}
"""Data channel -> the handler and connector that it must be used with."""

NAMES = sorted(name for name in LISTENERS if name in DIALERS and name not in EXCEPTIONS)
PACKETS = [name for name in NAMES if LISTENERS[name].parts == ("udp",)]
STREAMS = [name for name in NAMES if name not in PACKETS]
SHAKING = [name for name in STREAMS if LISTENERS[name].layers and LISTENERS[name].carrier == "tcp"]

FAR = """
services:
- name: far
  addr: {address}
  listener: {{type: {name}}}
  handler: {{type: {handler}}}
  {service}
  {forwarder}
{rest}
"""

NEAR = """
services:
- name: near
  addr: 127.0.0.1:0
  listener: {{type: {listener}}}
  handler: {{type: {listener}, chain: way}}
  forwarder: {{nodes: [{{name: t, addr: "{target}"}}]}}
chains:
- name: way
  hops:
  - name: hop
    nodes:
    - name: node
      addr: "{address}"
      dialer: {{type: {name}, metadata: {{{dialer}}}}}
      connector: {{type: {connector}}}
      metadata: {{{node}}}
"""


class Seen:
    """A handler that keeps the conns it is given."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.conns: list[Any] = []

    def handle(self, conn: Any) -> None:
        self.conns.append(conn)
        self.inner.handle(conn)


class Pair:
    """A data channel between a forwarding node and another one.

    Args:
        service: further lines of the far service.
        rest: further sections of the far configuration.
        node: metadata of the near node.
        dialer: metadata of its dialer.
        via: the port that the near node dials instead of the far service.
    """

    def __init__(
        self,
        stage: Stage,
        name: str,
        target: int,
        *,
        service: str = "",
        rest: str = "",
        node: str = "",
        dialer: str = "",
        via: int = 0,
        network: str = "tcp",
    ) -> None:
        handler, connector = PROTOCOLS.get(name, ("tcp", "forward"))
        unix = LISTENERS[name].carrier == "unix"
        address = str(stage.folder / "far.sock") if unix else "127.0.0.1:0"
        forwarder = f'forwarder: {{nodes: [{{name: t, addr: "127.0.0.1:{target}"}}]}}'
        if handler != "tcp":
            forwarder = ""
        self.far: Running = stage.run(
            FAR.format(
                address=address,
                name=name,
                handler="udp" if network == "udp" else handler,
                service=service,
                forwarder=forwarder,
                rest=rest,
            )
        )
        self.far_service = self.far.node.world.runtime.services["far"]
        self.seen = self.far_service.handler = Seen(self.far_service.handler)
        if not unix:
            address = f"127.0.0.1:{via or self.far.port('far')}"
        self.near: Running = stage.run(
            NEAR.format(
                address=address,
                name=name,
                listener=network,
                connector=connector,
                target=f"127.0.0.1:{target}",
                node=node,
                dialer=dialer,
            )
        )
        self.port = self.near.port("near")

    def logs(self, *levels: str) -> list[str]:
        return self.far.messages(*levels) + self.near.messages(*levels)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
