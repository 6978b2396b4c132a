"""Options of relay's two sides."""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.options import opt
from gostpy.processing.accounting import AccountingOptions
from gostpy.processing.sniffing import SniffingOptions
from gostpy.stream.mux import MuxOptions

__all__ = ["ConnectorOptions", "HandlerOptions"]


@dataclass(frozen=True)
class HandlerOptions(SniffingOptions, AccountingOptions, MuxOptions):
    """Options of the handler."""

    read_timeout: float = opt(
        15.0, "readTimeout", kind="duration", positive=True, doc="Time for the request to arrive."
    )
    udp_buffer_size: int = opt(
        0,
        "udp.bufferSize",
        "udpBufferSize",
        unit="bytes",
        doc="Bytes of a datagram that are kept; 0 = all (4096 in gost).",
    )
    bind: bool = opt(False, "bind", doc="Let clients listen here (BIND, UDP associations).")
    nodelay: bool = opt(
        False,
        "nodelay",
        doc="Never let the reply wait for first data of the target; here it hardly ever does.",
    )
    hash: str = opt(
        "",
        "hash",
        choices=("", "host"),
        doc="What the hash selector looks at; host: the target, else the client's IP.",
    )


@dataclass(frozen=True)
class ConnectorOptions(MuxOptions):
    """Options of the connector."""

    connect_timeout: float = opt(
        0.0, "connectTimeout", kind="duration", doc="Time for the node to answer; 0 = no limit."
    )
    nodelay: bool = opt(
        False,
        "nodelay",
        doc="Send the request at once and wait for the reply, instead of with the first data.",
    )
