"""Handlers ``rtcp``, ``rudp``, ``runix``: forward what a listener at the end of a chain hands over.

As forward.py, except that the target's address is used as it is, and that without a forwarder the
target is the host that the visitor asked the tunnel for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gostpy.errors import DialFailed
from gostpy.interfaces import Request
from gostpy.processing.forward import ForwardingOptions, use_network
from gostpy.processing.forward import Handler as ForwardHandler

__all__ = ["Handler", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(ForwardingOptions):
    """Options of the three handlers."""


class Handler(ForwardHandler):
    """Forwards to the forwarder's nodes, or to the host in the conn's facts."""

    def _select(self, conn: Any, request: Request) -> Any:
        hop = self.context.hop
        if hop is not None:
            node: Any = hop.select(request)
            if node is None:
                raise DialFailed("no target is available for this request")
            if node.network != "tcp":
                use_network(request, node.network)
            request.address = node.address
            return node
        if not conn.info.host:
            raise DialFailed("there is neither a forwarder nor a host that the visitor asked for")
        request.address = conn.info.host
        return None
