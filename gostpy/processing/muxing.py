"""Options of the mux session that carries the peers of a remote binding (BIND)."""

from __future__ import annotations

from dataclasses import dataclass

from gostpy.options import opt

__all__ = ["MuxOptions"]


@dataclass(frozen=True)
class MuxOptions:
    """The ``mux.*`` keys; handlers and connectors take them in by inheritance."""

    mux_type: str = opt(
        "smux", "mux.type", since="3.3", choices=("", "smux", "yamux"), doc="Mux protocol."
    )
    mux_version: int = opt(1, "mux.version", positive=True, doc="Version of smux, 1 or 2.")
    mux_keepalive_interval: float = opt(
        10.0, "mux.keepaliveInterval", kind="duration", positive=True, doc="Keep-alive interval."
    )
    mux_keepalive_disabled: bool = opt(
        False, "mux.keepaliveDisabled", doc="Neither send keep-alives nor miss those of the peer."
    )
    mux_keepalive_timeout: float = opt(
        30.0,
        "mux.keepaliveTimeout",
        kind="duration",
        positive=True,
        doc="Silence after which the session is closed.",
    )
    mux_max_frame_size: int = opt(
        32768, "mux.maxFrameSize", unit="bytes", positive=True, doc="Largest frame."
    )
    mux_max_receive_buffer: int = opt(
        4194304,
        "mux.maxReceiveBuffer",
        unit="bytes",
        positive=True,
        doc="Bytes that wait in the whole session.",
    )
    mux_max_stream_buffer: int = opt(
        65536,
        "mux.maxStreamBuffer",
        unit="bytes",
        positive=True,
        doc="Bytes that wait in one stream.",
    )
    mux_max_stream_window: int = opt(
        0,
        "mux.maxStreamWindow",
        unit="bytes",
        since="3.3",
        doc="Window of one yamux stream; 0 = 256 KiB.",
    )
