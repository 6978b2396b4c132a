"""Handler and connector ``serial``: a serial port to another port, or to the end of a chain.

With a forwarder its nodes are ports, opened with the line settings of the one served unless they
name their own; through the chain if there is one. Without, the chain is asked for the tcp target
``@``, which only a node that forwards by itself (relay) can serve.

Source    go-gost/x handler/serial
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gostpy.errors import ConfigError, DialFailed
from gostpy.net.serialport import SerialEndpoint, SerialPort
from gostpy.options import opt
from gostpy.processing.context import HandlerContext, dial_node
from gostpy.processing.forward import Connector, ConnectorOptions

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions:
    """Options of the handler."""

    timeout: float = opt(
        0.0,
        "timeout",
        "serial.timeout",
        kind="duration",
        doc="Silence of the forwarder's port that ends the connection; 0 = never.",
    )


class Handler:
    """Relays each conn."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context

    def handle(self, conn: Any) -> None:
        context = self.context
        if context.admit_request is not None:
            context.check_rate(conn)
        request = context.request(conn, "tcp", "@")
        hop = context.hop
        if hop is None:
            context.relay(conn, context.dial(request), request)
            return
        node: Any = hop.select(request)
        if node is None:
            raise DialFailed("no target is available for this request")
        request.network, request.address = "serial", _port(str(conn.info.local), node.address)
        upstream = dial_node(context.dial, request, node)
        if isinstance(upstream.endpoint, SerialEndpoint):
            upstream.endpoint.limit(self.options.timeout)
        context.relay(conn, upstream, request)


def _port(local: str, target: str) -> str:
    """The target with its own line settings, or with those of the local port."""
    if "," in target:
        return target
    try:
        return str(replace(SerialPort.parse(local), name=target))
    except ConfigError:  # the service does not listen on a port
        return target
