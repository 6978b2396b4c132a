"""Handler and connector ``unix``: Unix sockets to Unix sockets.

With a forwarder its nodes are socket paths, reached through the chain if there is one. Without,
the chain is asked for the tcp target ``@``, which only a node that forwards by itself (relay) can
serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import DialFailed
from gostpy.options import opt
from gostpy.processing.context import HandlerContext, dial_node
from gostpy.processing.forward import Connector, ConnectorOptions
from gostpy.processing.sniffing import SniffingOptions, refuse_unbuilt

__all__ = ["Connector", "ConnectorOptions", "Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(SniffingOptions):
    """Options of the handler."""

    read_timeout: float = opt(
        15.0,
        "readTimeout",
        kind="duration",
        positive=True,
        doc="Wait for a sniffed request and for its response.",
    )


class Handler:
    """Forwards each conn."""

    def __init__(self, options: HandlerOptions, context: HandlerContext) -> None:
        self.options = options
        self.context = context
        refuse_unbuilt(options)
        self._relay: Any = context.relay
        if options.sniffing:  # only a config that sniffs pays for what that needs
            from gostpy.processing.sniffing.sniffer import relay_for

            self._relay = relay_for(options, context, options.read_timeout)

    def handle(self, conn: Any) -> None:
        context = self.context
        if context.admit_request is not None:
            context.check_rate(conn)
        request = context.request(conn, "tcp", "@")
        hop = context.hop
        if hop is None:
            self._relay(conn, context.dial(request), request)
            return
        node: Any = hop.select(request)
        if node is None:
            raise DialFailed("no target is available for this request")
        request.network, request.address = "unix", node.address
        upstream = dial_node(context.dial, request, node)
        self._relay(conn, upstream, request)
