"""Sniffing for tungo: the host that a client names is dialed, at the port that it dialed."""

from __future__ import annotations

from typing import Any

from gostpy.interfaces import Request
from gostpy.processing.context import HandlerContext
from gostpy.processing.sniffing import SniffingOptions
from gostpy.processing.sniffing.sniffer import Sniffer
from gostpy.processing.tungo.options import HandlerOptions
from gostpy.wire.address import join_address, split_target

__all__ = ["make_sniffer"]


def make_sniffer(options: HandlerOptions, context: HandlerContext) -> Sniffer:
    """The sniffer of a handler."""
    return _Sniffer(
        SniffingOptions(sniffing=True, sniffing_timeout=options.sniffing_timeout),
        context,
        read_timeout=options.sniffing_response_timeout,
    )


class _Sniffer(Sniffer):
    """There are no nodes to choose from: the target is the host, or what was dialed."""

    def _choose(self, request: Request, host: str, port: int) -> Any:
        _, asked = split_target(request.destination)
        name = split_target(host)[0] if host else ""
        request.address = join_address(name, asked) if name else request.destination
        return None
